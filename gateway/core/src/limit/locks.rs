//! Users whom an operator has locked: they are refused at every node until an operator unlocks them. Each node keeps a copy, and copies are
//! merged in any order: of two orders about one user the later one counts.

use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

/// The most users that can be locked at once. An operator who needs more disables them at their source.
pub const MOST: usize = 10_000;

/// Time for which it is remembered that a user was unlocked, so that a node that was away meanwhile does not bring the lock back.
pub const UNLOCKED_IS_KNOWN: Duration = Duration::from_secs(90 * 24 * 3600);

/// The newest order about one user.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Lock {
    /// The canonical name.
    pub user: Arc<str>,
    /// `true` to lock the user, `false` to unlock.
    pub locked: bool,
    /// Time of the order.
    pub at: Timestamp,
}

/// As it is written: a release adds variants at the end and changes none, so that the first octet is the version.
#[derive(Serialize, Deserialize)]
enum Body {
    V1(Lock),
}

impl Lock {
    /// Writes it for the store that nodes share.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_allocvec(&Body::V1(self.clone()))
    }

    /// Reads what [`Lock::encode`] wrote.
    ///
    /// # Errors
    ///
    /// It is of a release that this one does not know.
    pub fn decode(octets: &[u8]) -> Result<Self, postcard::Error> {
        let Body::V1(lock) = postcard::from_bytes(octets)?;
        Ok(lock)
    }
}

/// [`MOST`] users are locked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{MOST} users are locked already: disable users at their source, or unlock some")]
pub struct Full;

/// The locks that one node knows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Locks {
    users: BTreeMap<Arc<str>, Lock>,
}

impl Locks {
    /// Returns whether the user, by canonical name, is locked.
    pub fn is_locked(&self, user: &str) -> bool {
        self.users.get(user).is_some_and(|lock| lock.locked)
    }

    /// The users that are locked, in the order of their names.
    pub fn locked(&self) -> impl Iterator<Item = &Lock> {
        self.users.values().filter(|lock| lock.locked)
    }

    /// Every order that is known, unlocked users included.
    pub fn orders(&self) -> impl Iterator<Item = &Lock> {
        self.users.values()
    }

    /// Takes an operator's order. It is later than every order before, whatever the clock says.
    ///
    /// # Errors
    ///
    /// [`Full`].
    pub fn order(&mut self, user: Arc<str>, locked: bool, now: Timestamp) -> Result<Lock, Full> {
        let before = self.users.get(&user);
        if locked && !before.is_some_and(|lock| lock.locked) && self.locked().count() >= MOST {
            return Err(Full);
        }
        let at = before.map_or(now, |lock| now.max(lock.at.after(Duration::from_micros(1))));
        let lock = Lock { user: user.clone(), locked, at };
        self.users.insert(user, lock.clone());
        Ok(lock)
    }

    /// Takes what another node, or the file of this one, says. `true`: it is news.
    pub fn merge(&mut self, lock: Lock) -> bool {
        // Of two orders of one moment, the one that locks.
        let known = |known: &Lock| (known.at, known.locked) >= (lock.at, lock.locked);
        if self.users.get(&lock.user).is_some_and(known) {
            return false;
        }
        self.users.insert(lock.user.clone(), lock);
        true
    }

    /// Forgets who was unlocked long ago. `true`: something was forgotten.
    pub fn forget(&mut self, now: Timestamp) -> bool {
        let before = self.users.len();
        self.users.retain(|_, lock| lock.locked || now.since(lock.at) < UNLOCKED_IS_KNOWN);
        self.users.len() != before
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn lock(user: &str, locked: bool, secs: u64) -> Lock {
        Lock { user: user.into(), locked, at: at(secs) }
    }

    #[test]
    fn later_order_counts() {
        let mut locks = Locks::default();
        locks.order("alice".into(), true, at(10)).unwrap();
        assert!(locks.is_locked("alice") && !locks.is_locked("bob"));
        // A clock that was set back gives no order that loses.
        let unlocked = locks.order("alice".into(), false, at(5)).unwrap();
        assert!(unlocked.at > at(10) && !locks.is_locked("alice"));
        assert!(!locks.merge(lock("alice", true, 10)), "an old order is no news");
        assert!(locks.merge(lock("alice", true, 11)) && locks.is_locked("alice"));
    }

    #[test]
    fn copies_agree_whatever_order() {
        let orders =
            [lock("a", true, 1), lock("a", false, 2), lock("a", true, 2), lock("b", true, 1), lock("b", false, 3)];
        let merged = |order: &[usize]| {
            let mut locks = Locks::default();
            for at in order {
                locks.merge(orders[*at].clone());
            }
            locks
        };
        let one = merged(&[0, 1, 2, 3, 4]);
        assert!(one.is_locked("a") && !one.is_locked("b"));
        for order in [[4, 3, 2, 1, 0], [2, 0, 4, 1, 3], [1, 2, 3, 4, 0]] {
            assert_eq!(merged(&order), one);
        }
    }

    #[test]
    fn unlocked_users_are_forgotten() {
        let mut locks = Locks::default();
        locks.merge(lock("alice", false, 10));
        locks.merge(lock("bob", true, 10));
        assert!(!locks.forget(at(10 + 89 * 86_400)));
        assert!(locks.forget(at(10 + 90 * 86_400)));
        assert_eq!(locks.orders().count(), 1, "a lock stays");
    }

    #[test]
    fn number_is_bounded() {
        let mut locks = Locks::default();
        for at in 0..MOST {
            locks.merge(lock(&format!("user{at}"), true, 1));
        }
        assert_eq!(locks.order("one-more".into(), true, at(2)), Err(Full));
        assert!(locks.order("user1".into(), true, at(2)).is_ok(), "it is locked already");
        assert!(locks.order("user1".into(), false, at(3)).is_ok());
        assert!(locks.order("one-more".into(), true, at(4)).is_ok());
    }

    #[test]
    fn version_1_decodes_for_ever() {
        let octets = [0, 5, b'a', b'l', b'i', b'c', b'e', 1, 0xe4, 0x07];
        let alice = Lock { user: "alice".into(), locked: true, at: Timestamp::from_micros(996) };
        assert_eq!(alice.encode().unwrap(), octets);
        assert_eq!(Lock::decode(&octets), Ok(alice));
        assert!(Lock::decode(&[1, 0]).is_err(), "of a later release");
        assert!(Lock::decode(&[]).is_err());
    }
}
