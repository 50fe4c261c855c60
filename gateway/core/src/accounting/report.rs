//! What nodes tell each other of sessions, and how it is written for the store that they share.

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
    Open(Box<Session>),
    Ended { client: Arc<str>, acct_session_id: Box<[u8]>, at: Timestamp },
}

impl Report {
    /// The octets of all but the order.
    ///
    /// # Errors
    ///
    /// There is no memory.
    pub fn encode(&self) -> Result<Vec<u8>, postcard::Error> {
        let Key { client, acct_session_id } = self.key.clone();
        postcard::to_allocvec(&match &self.says {
            Says::Open(session) => Body::Open(session.clone()),
            Says::Ended(at) => Body::Ended { client, acct_session_id, at: *at },
        })
    }

    /// Reads what [`Report::encode`] wrote.
    ///
    /// # Errors
    ///
    /// It is of a release that this one does not know.
    pub fn decode(octets: &[u8], order: u64) -> Result<Self, postcard::Error> {
        let (key, says) = match postcard::from_bytes(octets)? {
            Body::Open(session) => {
                let (client, acct_session_id) = (session.client.clone(), session.acct_session_id.clone());
                (Key { client, acct_session_id }, Says::Open(session))
            }
            Body::Ended { client, acct_session_id, at } => (Key { client, acct_session_id }, Says::Ended(at)),
        };
        Ok(Self { key, order, says })
    }
}
