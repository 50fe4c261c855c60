//! What nodes tell each other of sessions, and how it is written for the store that they share.

use super::record::RecordId;
use super::sessions::Session;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// What names a session: Acct-Session-Id is unique within one NAS only.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    /// The RADIUS client's name.
    pub client: Arc<str>,
    /// Acct-Session-Id.
    pub acct_session_id: Box<[u8]>,
}

/// What a node knows of one session.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// Of which.
    pub key: Key,
    /// Of two reports of one session the one with the higher number is newer: the time when the NAS was heard, in µs, and
    /// always more than any that the node knew of.
    pub order: u64,
    /// How the session is.
    pub says: Says,
    /// The accounting record that told it, which a node has on its disk: another one need not write it again.
    pub record: Option<Written>,
}

/// An accounting record that is on a disk.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Written {
    /// Which record.
    pub id: RecordId,
    /// Its Request Authenticator.
    pub octets: u128,
    /// When it was received.
    pub received: Timestamp,
}

/// How a session is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Says {
    /// It is open.
    Open(Box<Session>),
    /// It ended then.
    Ended(Timestamp),
}

/// As it is written: a release adds variants at the end and changes none, so that the first octet is the version.
#[derive(Serialize, Deserialize)]
enum Body {
    Open { session: Box<Session>, record: Option<Written> },
    Ended { client: Arc<str>, acct_session_id: Box<[u8]>, at: Timestamp, record: Option<Written> },
}

impl Report {
    /// The octets of all but the order.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        let Self { key: Key { client, acct_session_id }, says, record, .. } = self.clone();
        postcard::to_allocvec(&match says {
            Says::Open(session) => Body::Open { session, record },
            Says::Ended(at) => Body::Ended { client, acct_session_id, at, record },
        })
    }

    /// Reads what [`Report::encode`] wrote.
    ///
    /// # Errors
    ///
    /// It is of a release that this one does not know.
    pub fn decode(octets: &[u8], order: u64) -> Result<Self, postcard::Error> {
        Ok(match postcard::from_bytes(octets)? {
            Body::Open { session, record } => {
                let (client, acct_session_id) = (session.client.clone(), session.acct_session_id.clone());
                Self { key: Key { client, acct_session_id }, order, says: Says::Open(session), record }
            }
            Body::Ended { client, acct_session_id, at, record } => {
                Self { key: Key { client, acct_session_id }, order, says: Says::Ended(at), record }
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::{IpAddr, Ipv4Addr};

    const VECTORS: &str = include_str!("../../../../tests/vectors/sessions/v1.txt");

    fn key() -> Key {
        Key { client: "vpn".into(), acct_session_id: b"s-1".as_slice().into() }
    }

    fn octets(text: &str) -> Option<Box<[u8]>> {
        Some(text.as_bytes().into())
    }

    fn at(secs: u64) -> Timestamp {
        Timestamp::from_secs(1_700_000_000 + secs)
    }

    fn bare() -> Session {
        Session {
            client: "vpn".into(),
            nas: Ipv4Addr::new(192, 0, 2, 1).into(),
            user: "alice".into(),
            user_name: b"Alice".as_slice().into(),
            acct_session_id: b"s-1".as_slice().into(),
            acct_multi_session_id: None,
            nas_identifier: None,
            nas_ip: None,
            nas_port: None,
            nas_port_id: None,
            framed_ip: None,
            framed_ipv6_prefix: None,
            calling_station_id: None,
            called_station_id: None,
            class: None,
            started: at(0),
            last_seen: at(60),
            input_octets: 0,
            output_octets: 0,
            session_time: 0,
        }
    }

    fn full() -> Session {
        Session {
            acct_multi_session_id: octets("m-1"),
            nas_identifier: octets("gw-1"),
            nas_ip: Some(IpAddr::V6([0xfd00, 0, 0, 0, 0, 0, 0, 1].into())),
            nas_port: Some(7),
            nas_port_id: octets("port-7"),
            framed_ip: Some(Ipv4Addr::new(10, 0, 0, 9)),
            framed_ipv6_prefix: Some([0, 64, 0x20, 0x01].into()),
            calling_station_id: octets("198.51.100.7"),
            called_station_id: octets("203.0.113.1"),
            class: octets("staff"),
            input_octets: 1 << 40,
            output_octets: 300,
            session_time: 60,
            ..bare()
        }
    }

    #[test]
    fn version_1_decodes_for_ever() {
        let record = Some(Written { id: 1 << 120, octets: 7, received: at(60) });
        let reports = [
            ("bare", Says::Open(Box::new(bare())), None),
            ("full", Says::Open(Box::new(full())), record),
            ("ended", Says::Ended(at(90)), record),
        ];
        for (name, says, record) in reports {
            let report = Report { key: key(), order: 5, says, record };
            let line = VECTORS.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": ")).unwrap_or_default();
            let hex: String = report.encode().unwrap().iter().map(|octet| format!("{octet:02x}")).collect();
            assert_eq!(hex, line, "{name}");
            assert_eq!(Report::decode(&report.encode().unwrap(), 5), Ok(report));
        }
        assert!(Report::decode(&[2, 0, 0], 5).is_err(), "of a later release");
        assert!(Report::decode(&[], 5).is_err());
    }
}
