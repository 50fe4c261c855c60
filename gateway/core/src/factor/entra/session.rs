//! What a prompt leaves behind for its polls and its code: octets in the store, which another node may read.

use crate::attempt::record::AttemptId;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};

/// The version of the form below. A change is a new version beside the old one.
const VERSION: u8 = 1;

/// The longest session that is read.
const LONGEST: usize = 4096;

/// What Begin left.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Session {
    /// What the service calls it.
    pub id: String,
    /// The correlation id of Begin.
    pub context: AttemptId,
    /// The UPN of Begin.
    pub upn: String,
    /// Where else the session may be known.
    pub affinity_url: Option<String>,
    /// When it began.
    pub begun: Timestamp,
}

impl Session {
    /// As octets.
    pub fn encode(&self) -> Vec<u8> {
        // Into memory, of a type that has a form: it cannot fail, and an empty session is read by nobody.
        let body = postcard::to_allocvec(self).unwrap_or_default();
        let mut octets = vec![VERSION];
        octets.extend(body);
        octets
    }

    /// From octets; `None` for what is none, or of a newer release.
    pub fn decode(octets: &[u8]) -> Option<Self> {
        if octets.len() > LONGEST {
            return None;
        }
        let (VERSION, body) = octets.split_first().map(|(version, body)| (*version, body))? else { return None };
        match postcard::take_from_bytes(body).ok()? {
            (session, []) => Some(session),
            _ => None,
        }
    }
}
