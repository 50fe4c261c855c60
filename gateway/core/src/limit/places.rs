//! Places for connections that have not yet said what they want.
//!
//! There are so many and no more, and whoever comes always finds one: when all are taken, the sender that holds the most gives up its
//! oldest silent connection. So one sender may have all of them while nobody else comes, and cannot keep anybody else out.

use std::collections::{BTreeMap, HashMap};
use std::hash::Hash;
use std::net::{IpAddr, Ipv6Addr};

/// Places, held by senders of type `S`. A place is known by its number; numbers grow.
#[derive(Debug)]
pub struct Places<S> {
    most: usize,
    next: u64,
    held: BTreeMap<u64, Held<S>>,
}

#[derive(Debug)]
struct Held<S> {
    sender: S,
    heard: bool,
}

/// A place that was given.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Given {
    /// Its number.
    pub place: u64,
    /// The place of a connection that is to be closed for it.
    pub closes: Option<u64>,
}

impl<S: Clone + Eq + Hash> Places<S> {
    /// So many places, at least one.
    pub fn new(most: usize) -> Self {
        Self { most: most.max(1), next: 0, held: BTreeMap::new() }
    }

    /// A place for a connection of `sender`. `None` if every place is held by a connection that was heard.
    pub fn enter(&mut self, sender: S) -> Option<Given> {
        let closes = if self.held.len() < self.most { None } else { Some(self.victim(Some(&sender))?) };
        if let Some(closed) = closes {
            self.held.remove(&closed);
        }
        let place = self.next;
        self.next += 1;
        self.held.insert(place, Held { sender, heard: false });
        Some(Given { place, closes })
    }

    /// The place of a connection that is to be closed although there is room: the node lacks something else.
    pub fn make_room(&mut self) -> Option<u64> {
        let closed = self.victim(None)?;
        self.held.remove(&closed);
        Some(closed)
    }

    /// The oldest silent place of the sender with the most silent ones, the one that `comes` included.
    fn victim(&self, comes: Option<&S>) -> Option<u64> {
        let mut silent: HashMap<&S, (usize, u64)> = HashMap::new();
        for (place, held) in self.held.iter().filter(|(_, held)| !held.heard) {
            silent.entry(&held.sender).or_insert((0, *place)).0 += 1;
        }
        // Whoever has a place already is to give up that one before somebody else's only one.
        if let Some(held) = comes.and_then(|sender| silent.get_mut(sender)) {
            held.0 += 1;
        }
        silent
            .into_values()
            .max_by_key(|(count, oldest)| (*count, std::cmp::Reverse(*oldest)))
            .map(|(_, oldest)| oldest)
    }

    /// The connection said what it wants: nobody takes its place any more.
    pub fn heard(&mut self, place: u64) {
        if let Some(held) = self.held.get_mut(&place) {
            held.heard = true;
        }
    }

    /// The connection is over.
    pub fn leave(&mut self, place: u64) {
        self.held.remove(&place);
    }

    /// How many are held.
    pub fn len(&self) -> usize {
        self.held.len()
    }

    /// Whether none is held.
    pub fn is_empty(&self) -> bool {
        self.held.is_empty()
    }
}

/// The sender that an address stands for: a host of IPv6 has a whole /64 (RFC 4291 §2.5.1).
pub fn sender(address: IpAddr) -> IpAddr {
    match address.to_canonical() {
        IpAddr::V6(address) => {
            let [a, b, c, d, ..] = address.segments();
            IpAddr::V6(Ipv6Addr::new(a, b, c, d, 0, 0, 0, 0))
        }
        address @ IpAddr::V4(_) => address,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn given(place: u64, closes: Option<u64>) -> Option<Given> {
        Some(Given { place, closes })
    }

    #[test]
    fn sender_alone_has_all() {
        let mut places = Places::new(3);
        for place in 0..3 {
            assert_eq!(places.enter("a"), given(place, None));
        }
        assert_eq!(places.enter("a"), given(3, Some(0)), "the oldest goes");
        assert_eq!(places.len(), 3);
    }

    #[test]
    fn flood_closes_its_own() {
        let mut places = Places::new(3);
        places.enter("scraper");
        for _ in 0..100 {
            let closes = places.enter("flood").unwrap().closes;
            assert_ne!(closes, Some(0), "the scraper came first and stays");
        }
        // Another that comes takes a place of the flood's, too.
        let new = places.enter("balancer").unwrap();
        assert!(new.closes.is_some_and(|closed| closed > 0));
        for _ in 0..100 {
            let closes = places.enter("flood").unwrap().closes;
            assert!(closes != Some(0) && closes != Some(new.place));
        }
    }

    #[test]
    fn many_senders_lose_the_oldest() {
        let mut places = Places::new(2);
        assert_eq!((places.enter(1), places.enter(2)), (given(0, None), given(1, None)));
        assert_eq!((places.enter(3), places.enter(4)), (given(2, Some(0)), given(3, Some(1))));
    }

    #[test]
    fn heard_connections_stay() {
        let mut places = Places::new(2);
        places.enter("a");
        places.enter("a");
        places.heard(0);
        assert_eq!(places.enter("a"), given(2, Some(1)));
        places.heard(2);
        assert_eq!(places.enter("b"), None);
        places.leave(0);
        assert_eq!(places.enter("b"), given(3, None));
        assert_eq!(places.make_room(), Some(3));
        assert_eq!((places.make_room(), places.len()), (None, 1));
        // Whoever was closed leaves without harm, and is not heard.
        places.leave(1);
        places.heard(1);
        assert_eq!(places.len(), 1);
    }

    #[test]
    fn sender_of_ipv6_is_its_network() {
        let of = |text: &str| sender(text.parse().unwrap());
        assert_eq!(of("2001:db8:1:2::7"), of("2001:db8:1:2:ffff::1"));
        assert_ne!(of("2001:db8:1:2::7"), of("2001:db8:1:3::7"));
        assert_ne!(of("192.0.2.1"), of("192.0.2.2"));
        assert_eq!(of("::ffff:192.0.2.1"), of("192.0.2.1"));
    }
}
