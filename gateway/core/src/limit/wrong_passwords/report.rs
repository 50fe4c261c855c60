//! What nodes tell each other of wrong passwords, and how it is written for the store that they share.

use super::{Guess, Lift};
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Reports of one batch: none is longer than 700 octets, and a store passes 64 KiB on.
pub(super) const LONGEST: usize = 64;

/// What a node tells.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Report {
    /// A password was wrong.
    Failed {
        /// Where it came from.
        guess: Guess,
        /// When.
        at: Timestamp,
    },
    /// A user somebody guesses at is known at this place.
    Known {
        /// The user.
        user: Arc<str>,
        /// The group of RADIUS clients.
        group: Arc<str>,
        /// The station.
        station: Option<Arc<[u8]>>,
        /// When the password was last right there.
        at: Timestamp,
    },
    /// An operator has lifted pauses.
    Lifted(Lift),
}

/// Reports that are told together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Counts up in one life of a node.
    pub number: u64,
    /// The reports, the oldest first.
    pub reports: Vec<Report>,
}

/// As it is written: a release adds variants at the end and changes none, so that the first octet is the version.
#[derive(Serialize, Deserialize)]
enum Body {
    V1(Vec<Report>),
}

impl Batch {
    /// The octets of all but the number.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        postcard::to_allocvec(&Body::V1(self.reports.clone()))
    }

    /// Reads what [`Batch::encode`] wrote.
    ///
    /// # Errors
    ///
    /// It is of a release that this one does not know.
    pub fn decode(octets: &[u8], number: u64) -> Result<Self, postcard::Error> {
        let Body::V1(reports) = postcard::from_bytes(octets)?;
        Ok(Self { number, reports })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv6Addr};

    const VECTORS: &str = include_str!("../../../../../tests/vectors/wrong_passwords/v1.txt");

    fn batches() -> Vec<(&'static str, Vec<Report>)> {
        let at = Timestamp::from_secs(1_800_000_000);
        let guess = |station: Option<&[u8]>, source| Guess {
            user: "alice".into(),
            group: "vpn".into(),
            station: station.map(Into::into),
            source,
        };
        let (v4, v6) = (IpAddr::from([192, 0, 2, 10]), IpAddr::from(Ipv6Addr::LOCALHOST));
        let known = |station: Option<&[u8]>| Report::Known {
            user: "alice".into(),
            group: "vpn".into(),
            station: station.map(Into::into),
            at,
        };
        let lifted = [Lift::User("alice".into()), Lift::Group("vpn".into()), Lift::Source(v4), Lift::All];
        vec![
            ("empty", Vec::new()),
            ("failed", vec![Report::Failed { guess: guess(Some(b"198.51.100.7"), v4), at }]),
            ("failed-bare", vec![Report::Failed { guess: guess(None, v6), at }]),
            ("known", vec![known(Some(b"198.51.100.7")), known(None)]),
            ("lifted", lifted.map(Report::Lifted).into()),
        ]
    }

    #[test]
    fn version_1_decodes_for_ever() {
        for (name, reports) in batches() {
            let batch = Batch { number: 7, reports };
            let line = VECTORS.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default();
            let hex: String = batch.encode().unwrap().iter().map(|octet| format!("{octet:02x}")).collect();
            assert_eq!(hex, line, "{name}");
            assert_eq!(Batch::decode(&batch.encode().unwrap(), 7), Ok(batch));
        }
        assert!(Batch::decode(&[1, 0], 7).is_err(), "of a later release");
        assert!(Batch::decode(&[], 7).is_err());
    }

    #[test]
    fn longest_batch_fits() {
        let guess = Guess {
            user: "u".repeat(253).as_str().into(),
            group: "g".repeat(64).as_str().into(),
            station: Some([7; 253].into()),
            source: Ipv6Addr::LOCALHOST.into(),
        };
        let report = Report::Failed { guess, at: Timestamp::from_micros(u64::MAX) };
        let batch = Batch { number: u64::MAX, reports: vec![report; LONGEST] };
        assert!(batch.encode().unwrap().len() < 60_000);
    }
}
