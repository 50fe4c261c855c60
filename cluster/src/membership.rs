//! Who is in the cluster: each node gives signs of life under its incarnation, and hears who else did.
//!
//! An owner is dead when the store has been reachable for `cluster.dead_after` without a sign of its incarnation. Two nodes with one
//! name show in it too: the one that started later must not serve.

use crate::sealed::{Header, NEWEST, OLDEST, Sealer};
use gateway_core::attempt::record::Owner;
use gateway_core::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::collections::HashMap;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// What a node says of itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Says {
    /// Where RADIUS clients reach it.
    pub address: String,
    /// Its release.
    pub version: String,
    /// `ready`, `draining` or why it is not ready.
    pub state: String,
    /// Requests in progress.
    pub in_progress: u64,
    /// Prompts that are out.
    pub pending: u64,
    /// How far the clock of the store is ahead of its own, in µs.
    pub skew: i64,
    /// Where other nodes connect to it, `host:port`; empty: nowhere. It stands behind what the first release said, which passes
    /// over it.
    #[serde(skip)]
    pub peers: String,
}

/// A node that is alive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Member {
    /// Its name, and which of its lives it is.
    pub owner: Owner,
    /// When this life began, by its own clock.
    pub started: Timestamp,
    /// Its last sign of life, by the store's clock.
    pub seen: Timestamp,
    /// The newest version of records that it opens.
    pub records: u8,
    /// What it says.
    pub says: Says,
}

#[derive(Serialize, Deserialize)]
struct Body {
    node: String,
    started: Timestamp,
    says: Says,
}

/// What this node knows of the others, and says of itself.
pub(crate) struct Members {
    owner: Owner,
    started: Timestamp,
    dead_after: Duration,
    /// The newest version of records that is to be written.
    newest: u8,
    /// The one that everybody alive opens.
    records: AtomicU8,
    inner: Mutex<Inner>,
}

#[derive(Default)]
struct Inner {
    says: Says,
    left: bool,
    live: Vec<Member>,
    /// Since when the store has answered without a break.
    since: Option<Instant>,
    /// Of others with our name: the sign that was seen first.
    rivals: HashMap<u64, Timestamp>,
}

impl Members {
    pub(crate) fn new(owner: Owner, started: Timestamp, dead_after: Duration, newest: u8) -> Self {
        let records = AtomicU8::new(OLDEST);
        Self { owner, started, dead_after, newest, records, inner: Mutex::default() }
    }

    /// The version to write records as: the newest that every node opens, and the oldest until the others were heard of.
    pub(crate) fn records(&self) -> u8 {
        self.records.load(Ordering::Relaxed)
    }

    fn inner(&self) -> MutexGuard<'_, Inner> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn tell(&self, says: Says) {
        self.inner().says = says;
    }

    pub(crate) fn leave(&self) {
        self.inner().left = true;
    }

    /// The field of the hash that is ours.
    pub(crate) fn field(&self) -> String {
        format!("{:016x}", self.owner.incarnation)
    }

    /// What to put there; empty: nothing, the node is going.
    pub(crate) fn value(&self, sealer: &Sealer, key: &str, skew: i64) -> Vec<u8> {
        let inner = self.inner();
        if inner.left {
            return Vec::new();
        }
        let says = Says { skew, ..inner.says.clone() };
        let body = Body { node: self.owner.node.as_ref().to_owned(), started: self.started, says };
        let header = Header { serial: 0, epoch: 0, expires: Timestamp::default() };
        let octets = postcard::to_allocvec(&body).unwrap_or_default();
        let octets = postcard::to_extend(&(&body.says.peers, NEWEST), octets).unwrap_or_default();
        sealer.seal(OLDEST, &format!("{key}/{}", self.field()), header, &octets).unwrap_or_default()
    }

    /// Takes the store's answer: field and value for each. What does not open is nobody; how many those were. `conflict` is set
    /// while another node that serves has our name, and started before us.
    pub(crate) fn heard(&self, sealer: &Sealer, key: &str, live: Vec<(String, Vec<u8>)>) -> (usize, bool) {
        let (mut members, mut strangers) = (Vec::new(), 0);
        for (field, value) in live {
            match member(sealer, key, &field, &value) {
                Some(member) => members.push(member),
                None => strangers += 1,
            }
        }
        members.sort_by(|a, b| (&a.owner.node, a.owner.incarnation).cmp(&(&b.owner.node, b.owner.incarnation)));
        let records = members.iter().map(|member| member.records).fold(self.newest, u8::min).max(OLDEST);
        let before = self.records.swap(records, Ordering::Relaxed);
        if before != records {
            tracing::info!(before, now = records, "records are written as the newest version that all nodes open");
        }
        let mut inner = self.inner();
        let mut conflict = false;
        let rivals = members
            .iter()
            .filter(|other| other.owner.node == self.owner.node && other.owner.incarnation != self.owner.incarnation);
        for rival in rivals {
            let first = *inner.rivals.entry(rival.owner.incarnation).or_insert(rival.seen);
            // What an earlier life of ours left behind does not move.
            let serves = rival.seen > first;
            let order = |started: Timestamp, incarnation: u64| (started, incarnation);
            conflict |=
                serves && order(rival.started, rival.owner.incarnation) < order(self.started, self.owner.incarnation);
        }
        inner.live = members;
        inner.since.get_or_insert_with(Instant::now);
        (strangers, conflict)
    }

    pub(crate) fn unreachable(&self) {
        self.inner().since = None;
    }

    pub(crate) fn is_dead(&self, owner: &Owner) -> bool {
        if owner == &self.owner {
            return false;
        }
        let inner = self.inner();
        let reachable = inner.since.is_some_and(|since| since.elapsed() >= self.dead_after);
        reachable && !inner.live.iter().any(|member| member.owner == *owner)
    }

    pub(crate) fn list(&self) -> Vec<Member> {
        self.inner().live.clone()
    }
}

fn member(sealer: &Sealer, key: &str, field: &str, value: &[u8]) -> Option<Member> {
    let space = value.iter().take(20).position(|octet| *octet == b' ')?;
    let millis: u64 = std::str::from_utf8(value.get(..space)?).ok()?.parse().ok()?;
    let sealed = value.get(space + 1..)?;
    let (_, octets) = sealer.open(&format!("{key}/{field}"), sealed).ok()?;
    let (mut body, more): (Body, _) = postcard::take_from_bytes(&octets).ok()?;
    // Earlier releases say less, or nothing.
    let (peers, more) = postcard::take_from_bytes(more).unwrap_or_default();
    body.says.peers = peers;
    let records = postcard::from_bytes(more).unwrap_or(OLDEST);
    let incarnation = u64::from_str_radix(field, 16).ok()?;
    let owner = Owner { node: body.node.into(), incarnation };
    let seen = Timestamp::from_micros(millis.saturating_mul(1_000));
    Some(Member { owner, started: body.started, seen, records, says: body.says })
}

#[cfg(test)]
mod tests {
    use super::*;

    const KEY: &str = "o:{nodes}:live";
    const LIVES: Duration = Duration::from_secs(5);

    fn members(node: &str, incarnation: u64, started: u64) -> Members {
        Members::new(Owner { node: node.into(), incarnation }, Timestamp::from_secs(started), LIVES, NEWEST)
    }

    fn sign(of: &Members, sealer: &Sealer, millis: u64) -> (String, Vec<u8>) {
        (of.field(), [format!("{millis} ").as_bytes(), &of.value(sealer, KEY, 0)].concat())
    }

    #[test]
    fn the_younger_of_two_with_one_name_is_in_conflict_and_an_earlier_life_is_none() {
        let sealer = Sealer::new(&[1; 32], None);
        let (old, young) = (members("a", 9, 100), members("a", 3, 200));
        assert_eq!(young.heard(&sealer, KEY, vec![sign(&old, &sealer, 5_000)]), (0, false), "it may have died");
        assert_eq!(young.heard(&sealer, KEY, vec![sign(&old, &sealer, 5_000)]), (0, false));
        assert_eq!(young.heard(&sealer, KEY, vec![sign(&old, &sealer, 6_000)]), (0, true));
        assert_eq!(old.heard(&sealer, KEY, vec![sign(&young, &sealer, 5_000)]), (0, false));
        assert_eq!(old.heard(&sealer, KEY, vec![sign(&young, &sealer, 6_000)]), (0, false), "the older one stays");
        assert_eq!(young.heard(&sealer, KEY, vec![]), (0, false));
    }

    #[test]
    fn what_strangers_write_is_nobody() {
        let sealer = Sealer::new(&[1; 32], None);
        let (a, b) = (members("a", 1, 1), members("b", 2, 1));
        let (field, value) = sign(&b, &sealer, 5_000);
        let forged = vec![
            ("0".into(), value.clone()),
            (field.clone(), b"x".to_vec()),
            (field.clone(), b"99999999999999999999999 ".to_vec()),
            (field, value),
        ];
        assert_eq!(a.heard(&sealer, KEY, forged).0, 3);
        assert_eq!(a.list().len(), 1);
        assert_eq!(a.list()[0].owner, Owner { node: "b".into(), incarnation: 2 });
    }

    #[test]
    fn nobody_is_dead_while_the_store_is_out_of_reach() {
        let a = members("a", 1, 1);
        let b = Owner { node: "b".into(), incarnation: 2 };
        assert!(!a.is_dead(&b));
        a.heard(&Sealer::new(&[1; 32], None), KEY, vec![]);
        assert!(!a.is_dead(&b), "it has been reachable for a moment only");
        a.inner().since = Instant::now().checked_sub(LIVES);
        assert!(a.is_dead(&b));
        assert!(!a.is_dead(&Owner { node: "a".into(), incarnation: 1 }), "we live");
        a.unreachable();
        assert!(!a.is_dead(&b));
    }
}
