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
