//! Places that RADIUS clients share, such as those of requests in progress. A client may hold all of them while nobody else wants
//! one. Once they are taken, a client that holds less than its share still gets one, so that a flood at one NAS leaves the others
//! served; in all there are at most twice as many.

use std::collections::BTreeMap;
use std::sync::Arc;

/// Places that are held, by RADIUS client.
#[derive(Debug, Default)]
pub struct Shares {
    /// None of them is 0.
    held: BTreeMap<Arc<str>, usize>,
    total: usize,
}

impl Shares {
    /// Takes a place for `client` where `limit` are to be shared. Whether there was one.
    pub fn take(&mut self, client: &Arc<str>, limit: usize) -> bool {
        let own = self.held.get(client).copied().unwrap_or(0);
        if self.total >= limit {
            let clients = self.held.len().saturating_add(usize::from(own == 0)).max(1);
            let share = (limit / clients).max(1);
            if limit == 0 || own >= share || self.total >= limit.saturating_mul(2) {
                return false;
            }
        }
        self.held.insert(client.clone(), own.saturating_add(1));
        self.total = self.total.saturating_add(1);
        true
    }

    /// Gives a place of `client` back.
    pub fn give(&mut self, client: &Arc<str>) {
        let Some(held) = self.held.get_mut(client) else { return };
        *held = held.saturating_sub(1);
        if *held == 0 {
            self.held.remove(client);
        }
        self.total = self.total.saturating_sub(1);
    }

    /// How many are held.
    pub const fn total(&self) -> usize {
        self.total
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn take(shares: &mut Shares, client: &str, times: usize) -> usize {
        let client: Arc<str> = client.into();
        (0..times).filter(|_| shares.take(&client, 12)).count()
    }

    #[test]
    fn lone_client_holds_all() {
        let mut shares = Shares::default();
        assert_eq!(take(&mut shares, "a", 100), 12);
        assert_eq!(shares.total(), 12);
    }

    #[test]
    fn others_get_their_share() {
        let mut shares = Shares::default();
        take(&mut shares, "a", 100);
        assert_eq!(take(&mut shares, "b", 100), 6, "half of them");
        assert_eq!(take(&mut shares, "c", 100), 4, "a third");
        assert_eq!(take(&mut shares, "a", 1), 0);
        assert_eq!(take(&mut shares, "d", 100), 2, "as many as twice the limit leaves");
        assert_eq!(shares.total(), 24);
    }

    #[test]
    fn places_come_back() {
        let mut shares = Shares::default();
        take(&mut shares, "a", 100);
        let (a, b): (Arc<str>, Arc<str>) = ("a".into(), "b".into());
        shares.give(&b);
        assert_eq!(shares.total(), 12, "it held none");
        for _ in 0..12 {
            shares.give(&a);
        }
        assert_eq!((shares.total(), take(&mut shares, "b", 100)), (0, 12));
    }

    #[test]
    fn zero_places_are_none() {
        let mut shares = Shares::default();
        assert!(!shares.take(&"a".into(), 0));
        assert_eq!(shares.total(), 0);
    }
}
