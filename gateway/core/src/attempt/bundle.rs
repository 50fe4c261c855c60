//! All records of one user as octets: what a shared store keeps under one key.
//!
//! Each record inside is encoded by [`codec`](super::codec), with a version of its own. The list around them has the version
//! of the value that a store wraps around it, which says what is inside: records of version 2 since version 3 of values.

use super::codec::{self, Undecodable, decode, encode};
use super::record::{Attempt, AttemptKey, Challenge, Spent, UserRecord};
use super::records::Records;
use super::state::StateId;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

#[derive(Default, Serialize, Deserialize)]
struct Bundle {
    attempts: Vec<(AttemptKey, Vec<u8>)>,
    challenges: Vec<(StateId, Vec<u8>)>,
    /// Since version 3 of values they are the user's.
    spent: Vec<(StateId, Timestamp)>,
    user: Option<(Arc<str>, Vec<u8>)>,
}

/// The first version of values that holds records of version 2.
const WITH_NEWER_RECORDS: u8 = 3;

/// The records as octets for a value of `version`: the same records are the same octets. They are to be one user's.
///
/// # Errors
///
/// A record has no octets, which no record of ours is like.
pub fn encode_bundle(version: u8, records: &Records) -> Result<Vec<u8>, Undecodable> {
    let older = version < WITH_NEWER_RECORDS;
    let version = if older { codec::OLDEST } else { codec::NEWEST };
    let mut bundle = Bundle::default();
    for (key, attempt) in &records.attempts {
        bundle.attempts.push((key.clone(), encode::<Attempt>(version, attempt)?));
    }
    for (state, challenge) in &records.challenges {
        bundle.challenges.push((*state, encode::<Challenge>(version, challenge)?));
    }
    if let Some((name, user)) = records.users.iter().next() {
        if older {
            bundle.spent = user.spent.iter().map(|spent| (spent.state, spent.until)).collect();
        }
        if !user.only_counts() {
            bundle.user = Some((name.clone(), encode::<UserRecord>(version, user)?));
        }
    }
    bundle.attempts.sort_unstable();
    bundle.challenges.sort_unstable();
    bundle.spent.sort_unstable();
    postcard::to_allocvec(&bundle).map_err(|_| Undecodable::Body)
}

/// The records of `user` in `octets`. What the store knows beside them (since when the memory is complete, the floor of
/// epochs) is for the caller to set.
///
/// # Errors
///
/// The octets are not a bundle, one of the records is of a version that this release does not know, or is another user's.
pub fn decode_bundle(user: &str, octets: &[u8]) -> Result<Records, Undecodable> {
    let (bundle, rest) = postcard::take_from_bytes::<Bundle>(octets).map_err(|_| Undecodable::Body)?;
    if !rest.is_empty() {
        return Err(Undecodable::Body);
    }
    let mut records = Records::default();
    if let Some((name, octets)) = bundle.user {
        if *name != *user {
            return Err(Undecodable::Body);
        }
        records.users.insert(name, decode(&octets)?);
    }
    for (key, octets) in bundle.attempts {
        if *key.user != *user {
            return Err(Undecodable::Body);
        }
        records.insert_attempt(key, Box::new(decode(&octets)?));
    }
    for (state, octets) in bundle.challenges {
        let challenge: Challenge = decode(&octets)?;
        if *challenge.key.user != *user {
            return Err(Undecodable::Body);
        }
        records.insert_challenge(state, Box::new(challenge));
    }
    for (state, until) in bundle.spent {
        records.users.entry(user.into()).or_default().spend(Spent { state, until, burnt: false });
    }
    Ok(records)
}

#[cfg(test)]
mod tests {
    use super::super::codec;
    use super::*;
    use proptest::prelude::*;

    /// Written by version 1 once and never again.
    const VECTORS: &str = include_str!("../../../../tests/vectors/records/v1.txt");

    fn vector(name: &str) -> Vec<u8> {
        let line = VECTORS.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap();
        (0..line.len() / 2).map(|at| u8::from_str_radix(&line[2 * at..2 * at + 2], 16).unwrap()).collect()
    }

    fn records() -> Records {
        let mut records = Records::default();
        let challenge: Challenge = codec::decode(&vector("challenge")).unwrap();
        let key = challenge.key.clone();
        let nowhere = AttemptKey { station: None, ..key.clone() };
        records.insert_challenge(StateId([3; 16]), Box::new(challenge));
        for key in [key.clone(), nowhere] {
            records.insert_attempt(key, Box::new(codec::decode(&vector("attempt")).unwrap()));
        }
        let user = records.users.entry(key.user).or_default();
        *user = UserRecord { open: user.open, ..codec::decode(&vector("user")).unwrap() };
        for (state, secs) in [(4, 160), (2, 161)] {
            user.spend(Spent { state: StateId([state; 16]), until: Timestamp::from_secs(secs), burnt: false });
        }
        records
    }

    fn hex(octets: &[u8]) -> String {
        octets.iter().map(|octet| format!("{octet:02x}")).collect()
    }

    #[test]
    fn version_1_decodes_for_ever() {
        assert_eq!(hex(&encode_bundle(2, &records()).unwrap()), hex(&vector("bundle")));
        assert_eq!(decode_bundle("alice", &vector("bundle")), Ok(records()));
        assert_eq!(decode_bundle("alice", &encode_bundle(1, &Records::default()).unwrap()), Ok(Records::default()));
    }

    #[test]
    fn newer_values_keep_what_older_ones_leave_out() {
        let mut records = records();
        let user = records.users.get_mut("alice").unwrap();
        user.spend(Spent { state: StateId([7; 16]), until: Timestamp::from_secs(170), burnt: true });
        user.prompts.refused = 2;
        assert_eq!(decode_bundle("alice", &encode_bundle(3, &records).unwrap()), Ok(records.clone()));
        let older = decode_bundle("alice", &encode_bundle(2, &records).unwrap()).unwrap();
        let (user, whole) = (&older.users["alice"], &records.users["alice"]);
        assert_eq!((user.prompts.refused, user.spent.len(), user.open), (0, 3, whole.open));
        assert!(user.spent.iter().all(|spent| !spent.burnt));
    }

    #[test]
    fn what_only_counts_is_counted_anew() {
        let mut records = Records::default();
        let key = AttemptKey { group: "vpn".into(), user: "alice".into(), station: None };
        records.insert_attempt(key, Box::new(codec::decode(&vector("attempt")).unwrap()));
        for version in [1, 3] {
            assert_eq!(decode_bundle("alice", &encode_bundle(version, &records).unwrap()), Ok(records.clone()));
        }
    }

    #[test]
    fn records_of_another_user_are_none() {
        assert_eq!(decode_bundle("bob", &vector("bundle")), Err(Undecodable::Body));
    }

    #[test]
    fn a_record_of_another_version_says_so() {
        let octets = vector("bundle");
        let attempt = vector("attempt");
        let at = octets.windows(attempt.len()).position(|window| window == attempt).unwrap();
        let mut newer = octets;
        newer[at] = 3;
        assert_eq!(decode_bundle("alice", &newer), Err(Undecodable::Version(3)));
    }

    proptest! {
        #[test]
        fn random_octets_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..512)) {
            let _ = decode_bundle("alice", &octets);
        }

        #[test]
        fn a_flipped_octet_never_panics(at in 0usize..600, bit in 0u8..8) {
            let mut octets = vector("bundle");
            if let Some(octet) = octets.get_mut(at) {
                *octet ^= 1 << bit;
            }
            let _ = decode_bundle("alice", &octets);
        }
    }
}
