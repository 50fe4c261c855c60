//! Records as octets: a plain header that a script can read, then the body.
//!
//! ```text
//!  0         1           9       10            18
//!  +---------+-----------+-------+-------------+--------
//!  | version | epoch     | state | expiry (µs) | body …
//!  +---------+-----------+-------+-------------+--------
//! ```
//!
//! Numbers are big-endian. A body is the record in postcard's format; version 2 has behind it what version 1 did not know. What
//! one release wrote the next ones read: the vectors under `tests/vectors/records` decode for ever, and a change of a record
//! is a new version beside the old one.

use super::record::{Attempt, Challenge, Marks, Phase, Progress, Prompts, Spent, UserRecord};
use crate::time::Timestamp;
use serde::{Serialize, de::DeserializeOwned};

/// The oldest version that is read and written.
pub const OLDEST: u8 = 1;
/// The newest.
pub const NEWEST: u8 = 2;

/// What a script may look at without opening the body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Header {
    /// The owner's epoch; 0 where there is none.
    pub epoch: u64,
    /// Where the record stands, by kind of record.
    pub state: u8,
    /// When it may be forgotten.
    pub expires: Timestamp,
}

/// Why octets are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Undecodable {
    /// Shorter than a header.
    #[error("a record shorter than its header")]
    Short,
    /// Written by a release that this one does not know.
    #[error("a record of version {0}, which this release does not know: run the newer release on every node")]
    Version(u8),
    /// Not what its version says.
    #[error("a record whose body does not decode, or disagrees with its header")]
    Body,
}

/// A record that has a header.
pub trait Record: Serialize + DeserializeOwned {
    /// What version 2 has beyond version 1.
    type More: Serialize + DeserializeOwned;
    /// What the header says of it.
    fn header(&self) -> Header;
    /// What version 2 says of it beyond version 1.
    fn more(&self) -> Self::More;
    /// Takes back what version 2 said of it.
    fn add(&mut self, more: Self::More);
}

impl Record for Attempt {
    type More = Marks;

    fn more(&self) -> Marks {
        self.marks.clone()
    }

    fn add(&mut self, marks: Marks) {
        self.marks = marks;
    }

    fn header(&self) -> Header {
        let state = match self.phase {
            Phase::Begun => 0,
            Phase::Challenged { .. } => 1,
            Phase::Settled { .. } => 2,
            Phase::Waiting { .. } => 3,
            Phase::Offered { .. } => 4,
        };
        Header { epoch: self.epoch, state, expires: self.expires }
    }
}

impl Record for Challenge {
    type More = ();

    fn more(&self) {}

    fn add(&mut self, (): ()) {}

    fn header(&self) -> Header {
        let state = match self.progress {
            Progress::Issued => 0,
            Progress::Checking { .. } => 1,
        };
        Header { epoch: self.epoch, state, expires: self.expires }
    }
}

impl Record for UserRecord {
    type More = (Prompts, Vec<Spent>);

    fn more(&self) -> Self::More {
        (self.prompts.clone(), self.spent.clone())
    }

    fn add(&mut self, (prompts, spent): Self::More) {
        (self.prompts, self.spent) = (prompts, spent);
    }

    /// A user's record is forgotten piece by piece, so the header names no time.
    fn header(&self) -> Header {
        Header { epoch: 0, state: 0, expires: Timestamp::default() }
    }
}

/// The record as octets of `version`, or of the newest one that is known.
///
/// # Errors
///
/// A record has no octets, which no record of ours is like.
pub fn encode<R: Record>(version: u8, record: &R) -> Result<Vec<u8>, Undecodable> {
    let version = version.clamp(OLDEST, NEWEST);
    let Header { epoch, state, expires } = record.header();
    let mut octets = Vec::with_capacity(256);
    octets.push(version);
    octets.extend(epoch.to_be_bytes());
    octets.push(state);
    octets.extend(expires.as_micros().to_be_bytes());
    let octets = postcard::to_extend(record, octets).map_err(|_| Undecodable::Body)?;
    if version == OLDEST {
        return Ok(octets);
    }
    postcard::to_extend(&record.more(), octets).map_err(|_| Undecodable::Body)
}

/// The record in `octets`; nothing may be left over, and the header must say what the body says.
///
/// # Errors
///
/// The octets are no record, or one of a version that this release does not know.
pub fn decode<R: Record>(octets: &[u8]) -> Result<R, Undecodable> {
    let (header, body) = octets.split_first_chunk::<18>().ok_or(Undecodable::Short)?;
    let [version, ..] = *header;
    if !(OLDEST..=NEWEST).contains(&version) {
        return Err(Undecodable::Version(version));
    }
    let (mut record, rest) = postcard::take_from_bytes::<R>(body).map_err(|_| Undecodable::Body)?;
    if version != OLDEST {
        let (more, rest) = postcard::take_from_bytes::<R::More>(rest).map_err(|_| Undecodable::Body)?;
        record.add(more);
        if !rest.is_empty() {
            return Err(Undecodable::Body);
        }
    }
    if encode(version, &record)? != octets {
        return Err(Undecodable::Body);
    }
    Ok(record)
}

#[cfg(test)]
mod tests {
    use super::super::record::{AttemptId, AttemptKey, Authorization, Owner, PacketDigest, Purpose, Settled};
    use super::*;
    use crate::attempt::state::StateId;
    use crate::reason::Reason;
    use proptest::prelude::*;

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(secs)
    }

    fn attempt() -> Attempt {
        Attempt {
            epoch: 3,
            owner: Owner { node: "a".into(), incarnation: 9 },
            id: AttemptId([1; 16]),
            begun: at(100),
            claimed: at(101),
            prompts: true,
            port: Some(7),
            waiting: Some(PacketDigest([6; 16])),
            collector: Some(StateId([5; 16])),
            factor: "oath".into(),
            deadline: at(190),
            phase: Phase::Settled { verdict: Settled::Failed(Reason::TriesSpent), at: at(120), to: None },
            wrong: 2,
            expires: at(200),
            marks: Marks::default(),
        }
    }

    /// The same with what only version 2 knows.
    fn newer_attempt() -> Attempt {
        Attempt { marks: Marks(vec![(5, [1; 8]), (44, [2; 8])]), ..attempt() }
    }

    fn challenge() -> Challenge {
        let authorization = Authorization {
            first_factor: Some("local".into()),
            policy: "staff".into(),
            reply: [25, 3, b'x'].into(),
            upn: "alice@corp.example".into(),
        };
        Challenge {
            key: AttemptKey { group: "vpn".into(), user: "alice".into(), station: Some([1, 2].into()) },
            id: AttemptId([1; 16]),
            begun: at(100),
            epoch: 3,
            purpose: Purpose::Code { factor: "oath".into(), session: vec![5], authorization },
            progress: Progress::Checking { packet: PacketDigest([7; 16]), since: at(110) },
            wire: vec![8; 48],
            message: "Code:".into(),
            expires: at(280),
        }
    }

    fn user() -> UserRecord {
        let prompted_by = Some(challenge().key);
        UserRecord {
            wrong_codes: 1,
            window_began: at(5),
            prompted_by,
            used: vec![([2; 16], 77, Some(at(60))), ([3; 16], 1, None)],
            ..UserRecord::default()
        }
    }

    /// What only version 2 knows of a user.
    fn newer_user() -> UserRecord {
        let prompts = Prompts { refused: 3, last: at(70), forget: at(80), reported: Some(at(71)) };
        let spent = |state, burnt| Spent { state: StateId([state; 16]), until: at(90), burnt };
        UserRecord { prompts, spent: vec![spent(4, false), spent(5, true)], ..user() }
    }

    fn hex(octets: &[u8]) -> String {
        octets.iter().map(|octet| format!("{octet:02x}")).collect()
    }

    /// Written by version 1 once and never again; `UPDATE_GENERATED=1` is not heeded here on purpose.
    const V1: &str = include_str!("../../../../tests/vectors/records/v1.txt");
    /// Written by version 2 once.
    const V2: &str = include_str!("../../../../tests/vectors/records/v2.txt");

    fn vector(name: &str) -> Vec<u8> {
        vector_of(V1, name)
    }

    fn vector_of(vectors: &str, name: &str) -> Vec<u8> {
        let line = vectors.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap();
        (0..line.len() / 2).map(|at| u8::from_str_radix(&line[2 * at..2 * at + 2], 16).unwrap()).collect()
    }

    #[test]
    fn version_1_decodes_for_ever() {
        assert_eq!(hex(&encode(1, &attempt()).unwrap()), hex(&vector("attempt")));
        assert_eq!(decode::<Attempt>(&vector("attempt")), Ok(attempt()));
        for (name, phase) in [
            ("attempt_waiting", Phase::Waiting { session: [4, 5].into() }),
            ("attempt_offered", Phase::Offered { session: vec![6], prompt: Some("Code:".into()) }),
        ] {
            let attempt = Attempt { phase, ..attempt() };
            assert_eq!(hex(&encode(1, &attempt).unwrap()), hex(&vector(name)), "{name}");
            assert_eq!(decode::<Attempt>(&vector(name)), Ok(attempt));
        }
        assert_eq!(hex(&encode(1, &challenge()).unwrap()), hex(&vector("challenge")));
        assert_eq!(decode::<Challenge>(&vector("challenge")), Ok(challenge()));
        assert_eq!(hex(&encode(1, &user()).unwrap()), hex(&vector("user")));
        assert_eq!(decode::<UserRecord>(&vector("user")), Ok(user()));
    }

    #[test]
    fn version_2_decodes_for_ever() {
        for (name, octets) in [
            ("attempt", encode(2, &newer_attempt()).unwrap()),
            ("challenge", encode(2, &challenge()).unwrap()),
            ("user", encode(2, &newer_user()).unwrap()),
        ] {
            assert_eq!(hex(&octets), hex(&vector_of(V2, name)), "{name}");
        }
        assert_eq!(decode::<Attempt>(&vector_of(V2, "attempt")), Ok(newer_attempt()));
        assert_eq!(decode::<Challenge>(&vector_of(V2, "challenge")), Ok(challenge()));
        assert_eq!(decode::<UserRecord>(&vector_of(V2, "user")), Ok(newer_user()));
    }

    #[test]
    fn version_1_leaves_out_what_it_does_not_know() {
        assert_eq!(decode::<UserRecord>(&encode(1, &newer_user()).unwrap()), Ok(user()));
        assert_eq!(decode::<Attempt>(&encode(1, &newer_attempt()).unwrap()), Ok(attempt()));
    }

    #[test]
    fn what_is_not_a_record_says_why() {
        let octets = encode(1, &attempt()).unwrap();
        assert_eq!(decode::<Attempt>(&octets[..17]), Err(Undecodable::Short));
        assert_eq!(decode::<Attempt>(&[&[3], &octets[1..]].concat()), Err(Undecodable::Version(3)));
        assert_eq!(decode::<Attempt>(&octets[..octets.len() - 1]), Err(Undecodable::Body));
        assert_eq!(decode::<Attempt>(&[octets.as_slice(), &[0]].concat()), Err(Undecodable::Body));
        let mut stale = octets;
        stale[8] ^= 1;
        assert_eq!(decode::<Attempt>(&stale), Err(Undecodable::Body), "the header must agree with the body");
    }

    proptest! {
        #[test]
        fn random_octets_never_panic(octets in proptest::collection::vec(any::<u8>(), 0..256)) {
            let _ = decode::<Challenge>(&octets);
            for version in [OLDEST, NEWEST] {
                let with_version: Vec<u8> = [&[version], octets.as_slice()].concat();
                let _ = decode::<Challenge>(&with_version);
                let _ = decode::<UserRecord>(&with_version);
            }
        }
    }
}
