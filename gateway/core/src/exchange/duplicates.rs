//! The same packet again (RFC 5080 §2.2.2): discarded while it is in progress, answered with the same octets once it is
//! finished. One table belongs to one listener, because the kernel gives a NAS's port to the same socket.
//!
//! Bounded twice: a reply is kept for `lifetime`, and at most `limit` entries are held. Beyond the limit the oldest finished
//! ones go first; what is in progress is bounded by the permits and is never thrown out.

use crate::attempt::record::PacketDigest;
use crate::planted::{self, Fault};
use crate::time::Timestamp;
use foldhash::fast::RandomState;
use std::collections::{HashMap, VecDeque};
use std::hash::{Hash, Hasher};
use std::net::IpAddr;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// A NAS does not repeat a packet sooner.
const SHORTEST_INTERVAL: Duration = Duration::from_millis(500);

/// What a NAS may use again only for a new request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Key {
    /// The NAS's address and port.
    pub source: SocketAddr,
    /// Ours.
    pub local: SocketAddr,
    /// The packet's identifier.
    pub identifier: u8,
}

impl Hash for Key {
    /// Over what differs between the packets of one listener; equality looks at everything.
    fn hash<H: Hasher>(&self, state: &mut H) {
        let ip = match self.source.ip() {
            IpAddr::V4(ip) => u128::from(ip.to_bits()),
            IpAddr::V6(ip) => ip.to_bits(),
        };
        state.write_u128(ip);
        state.write_u32(u32::from(self.source.port()) << 8 | u32::from(self.identifier));
    }
}

/// What the table knows of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Seen {
    /// Nothing: it is in progress from now on.
    New,
    /// It is in progress: discard it.
    InProgress,
    /// It was answered: send this again.
    Finished(Arc<[u8]>),
}

/// What becomes of a packet when its exchange ends.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It was answered with these octets, which the same packet gets again.
    Replied(Arc<[u8]>),
    /// It was not answered: the same packet counts as new.
    Forgotten,
    /// It was not answered and never will be: the same packet is discarded.
    Discarded,
}

/// What other nodes are to be told of a packet that has ended here.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Telling {
    /// Nothing: they know, or there is nothing to know.
    Nothing,
    /// That it may come again, anywhere.
    Free,
    /// That it was answered with these octets.
    Reply(Arc<[u8]>),
}

impl End {
    /// What other nodes are to be told. `taken`: they know that this node had the packet. A reply is told also where they do not,
    /// since the store was away when the packet came: when it is back by now, the same packet may reach another node and be
    /// decided anew.
    pub fn telling(&self, taken: bool) -> Telling {
        match self {
            Self::Replied(reply) if taken || !planted::is(Fault::ReplyIsNotTold) => Telling::Reply(reply.clone()),
            Self::Forgotten if taken => Telling::Free,
            // One that is discarded looks for others as if it were in progress still.
            Self::Replied(_) | Self::Forgotten | Self::Discarded => Telling::Nothing,
        }
    }
}

#[derive(Debug)]
struct Entry {
    packet: PacketDigest,
    /// Tells this entry from an earlier one under the same key.
    serial: u64,
    reply: Option<Arc<[u8]>>,
    /// When it came first, when last, and how long before that.
    began: Timestamp,
    last: Timestamp,
    interval: Duration,
}

/// The packets that a listener has seen lately.
#[derive(Debug)]
pub struct Duplicates {
    /// Only clients that are configured get an entry, and the hash is seeded.
    entries: HashMap<Key, Entry, RandomState>,
    /// Finished entries in the order in which they finished.
    finished: VecDeque<(Timestamp, Key, u64)>,
    serial: u64,
    limit: usize,
    lifetime: Duration,
    evicted: u64,
}

impl Duplicates {
    /// An empty table that keeps a reply for `lifetime`, and `limit` of them at most.
    pub fn new(limit: usize, lifetime: Duration) -> Self {
        Self { entries: HashMap::default(), finished: VecDeque::new(), serial: 0, limit, lifetime, evicted: 0 }
    }

    /// New limits, from a new configuration.
    pub fn set_limits(&mut self, limit: usize, lifetime: Duration) {
        (self.limit, self.lifetime) = (limit, lifetime);
    }

    /// Whether `packet` was seen. It changes nothing, so that a packet that cannot be admitted leaves no trace; what is too old
    /// goes with [`expire`](Self::expire).
    pub fn look(&self, key: &Key, packet: PacketDigest) -> Seen {
        match self.entries.get(key) {
            Some(entry) if entry.packet == packet && !planted::is(Fault::DuplicateIsNew) => match &entry.reply {
                Some(reply) => Seen::Finished(reply.clone()),
                None => Seen::InProgress,
            },
            _ => Seen::New,
        }
    }

    /// `packet` is in progress from now on; whatever stood under its key is forgotten, because a new request under the same
    /// identifier means that the NAS has given the old one up. The serial names it for [`finish`](Self::finish).
    pub fn begin(&mut self, key: Key, packet: PacketDigest, now: Timestamp) -> u64 {
        self.serial = self.serial.wrapping_add(1);
        let (serial, interval) = (self.serial, Duration::ZERO);
        self.entries.insert(key, Entry { packet, serial, reply: None, began: now, last: now, interval });
        self.serial
    }

    /// The packet under `key` came again while it is in progress: how long after the time before. A packet that the network
    /// doubled tells nothing of the NAS.
    pub fn repeated(&mut self, key: &Key, now: Timestamp) -> Option<Duration> {
        let entry = self.entries.get_mut(key)?;
        let interval = now.since(entry.last);
        if interval < SHORTEST_INTERVAL {
            return None;
        }
        (entry.last, entry.interval) = (now, interval);
        Some(interval)
    }

    /// How long the NAS went on sending the packet, if it has stopped before the end of it: twice its interval has passed without
    /// another one.
    pub fn gave_up(&self, key: &Key, serial: u64, now: Timestamp) -> Option<Duration> {
        let entry = self.entries.get(key).filter(|entry| entry.serial == serial && !entry.interval.is_zero())?;
        let stopped = now.since(entry.last) > entry.interval.saturating_mul(2);
        stopped.then(|| entry.last.since(entry.began).saturating_add(entry.interval))
    }

    /// The packet's exchange has ended so. Whether a reply is still wanted: not if the NAS has used the identifier for
    /// something else since.
    pub fn finish(&mut self, key: Key, serial: u64, end: End, now: Timestamp) -> bool {
        let Some(entry) = self.entries.get_mut(&key).filter(|entry| entry.serial == serial) else {
            return false;
        };
        match end {
            End::Replied(reply) => entry.reply = Some(reply),
            // It goes on looking as if it were in progress.
            End::Discarded => {}
            End::Forgotten => {
                self.entries.remove(&key);
                return true;
            }
        }
        self.finished.push_back((now, key, serial));
        while self.finished.len() > self.limit {
            self.forget_oldest();
            self.evicted = self.evicted.saturating_add(1);
        }
        true
    }

    /// Forgets replies that are old enough.
    pub fn expire(&mut self, now: Timestamp) {
        while self.finished.front().is_some_and(|(at, ..)| now.since(*at) >= self.lifetime) {
            self.forget_oldest();
        }
    }

    fn forget_oldest(&mut self) {
        if let Some((_, key, serial)) = self.finished.pop_front()
            && self.entries.get(&key).is_some_and(|entry| entry.serial == serial)
        {
            self.entries.remove(&key);
        }
    }

    /// How many replies went before their time since the last call, because the limit was met.
    pub fn take_evicted(&mut self) -> u64 {
        std::mem::take(&mut self.evicted)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(identifier: u8) -> Key {
        Key { source: "192.0.2.1:1024".parse().unwrap(), local: "192.0.2.9:1812".parse().unwrap(), identifier }
    }

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(1_000 + secs)
    }

    fn reply(octet: u8) -> End {
        End::Replied([octet].into())
    }

    const P: PacketDigest = PacketDigest([1; 16]);
    const Q: PacketDigest = PacketDigest([2; 16]);

    fn table() -> Duplicates {
        Duplicates::new(2, Duration::from_secs(30))
    }

    #[test]
    fn others_are_told_each_reply() {
        let told = |end: End| [true, false].map(|taken| end.telling(taken));
        assert_eq!(told(reply(7)), [Telling::Reply([7].into()), Telling::Reply([7].into())]);
        assert_eq!(told(End::Forgotten), [Telling::Free, Telling::Nothing]);
        assert_eq!(told(End::Discarded), [Telling::Nothing, Telling::Nothing]);
    }

    #[test]
    fn a_duplicate_waits_and_then_gets_the_same_octets() {
        let mut table = table();
        assert_eq!(table.look(&key(1), P), Seen::New);
        let serial = table.begin(key(1), P, at(0));
        assert_eq!(table.look(&key(1), P), Seen::InProgress);
        assert!(table.finish(key(1), serial, reply(7), at(1)));
        assert_eq!(table.look(&key(1), P), Seen::Finished([7].into()));
        assert_eq!(table.look(&key(2), P), Seen::New);
        table.expire(at(31));
        assert_eq!(table.look(&key(1), P), Seen::New);
    }

    #[test]
    fn a_new_request_under_the_identifier_ends_the_old_one() {
        let mut table = table();
        let old = table.begin(key(1), P, at(0));
        let new = table.begin(key(1), Q, at(0));
        assert!(!table.finish(key(1), old, reply(7), at(2)), "nobody waits for it any more");
        assert_eq!(table.look(&key(1), Q), Seen::InProgress);
        assert!(table.finish(key(1), new, reply(8), at(2)));
        assert_eq!(table.look(&key(1), Q), Seen::Finished([8].into()));
        assert_eq!(table.look(&key(1), P), Seen::New);
    }

    #[test]
    fn an_old_ending_never_removes_a_newer_entry() {
        let mut table = table();
        let old = table.begin(key(1), P, at(0));
        table.finish(key(1), old, reply(7), at(0));
        table.begin(key(1), Q, at(0));
        table.expire(at(30));
        assert_eq!(table.look(&key(1), Q), Seen::InProgress);
    }

    #[test]
    fn silence_makes_the_packet_new_again() {
        let mut table = table();
        let serial = table.begin(key(1), P, at(0));
        assert!(table.finish(key(1), serial, End::Forgotten, at(1)));
        assert_eq!(table.look(&key(1), P), Seen::New);
    }

    #[test]
    fn the_patience_of_a_nas_shows_in_what_it_repeats() {
        let mut table = table();
        let serial = table.begin(key(1), P, at(0));
        let doubled = Timestamp::from_micros(at(0).as_micros() + 100_000);
        assert_eq!(table.repeated(&key(1), doubled), None);
        assert_eq!(table.repeated(&key(1), at(5)), Some(Duration::from_secs(5)));
        assert_eq!(table.repeated(&key(1), at(10)), Some(Duration::from_secs(5)));
        assert_eq!(table.gave_up(&key(1), serial, at(19)), None, "it may be about to send it again");
        assert_eq!(table.gave_up(&key(1), serial, at(21)), Some(Duration::from_secs(15)));
        let serial = table.begin(key(2), P, at(0));
        assert_eq!(table.gave_up(&key(2), serial, at(90)), None, "it never repeats");
        assert_eq!(table.repeated(&key(3), at(1)), None);
    }

    #[test]
    fn a_superseded_packet_is_discarded_for_as_long_as_a_reply_would_be_kept() {
        let mut table = table();
        let serial = table.begin(key(1), P, at(0));
        assert!(table.finish(key(1), serial, End::Discarded, at(1)));
        table.expire(at(30));
        assert_eq!(table.look(&key(1), P), Seen::InProgress);
        assert_eq!(table.look(&key(1), Q), Seen::New, "another packet under the identifier is another request");
        table.expire(at(31));
        assert_eq!(table.look(&key(1), P), Seen::New);
    }

    #[test]
    fn beyond_the_limit_the_oldest_reply_goes_and_is_counted() {
        let mut table = table();
        let waiting = table.begin(key(9), P, at(0));
        for identifier in 0..3 {
            let serial = table.begin(key(identifier), P, at(0));
            table.finish(key(identifier), serial, reply(identifier), at(0));
        }
        assert_eq!(table.look(&key(0), P), Seen::New);
        assert_eq!(table.look(&key(2), P), Seen::Finished([2].into()));
        assert_eq!((table.take_evicted(), table.take_evicted()), (1, 0));
        assert!(table.finish(key(9), waiting, reply(9), at(0)), "what is in progress stays");
    }
}
