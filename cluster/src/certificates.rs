//! The registry of certificates that nodes show to a cloud: public parts only, so that any node can list them all.

use gateway_core::time::Timestamp;
use serde::{Deserialize, Serialize};

/// A certificate of a node.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Certificate {
    /// SHA-256 over the certificate, in hexadecimal.
    pub thumbprint: String,
    /// The certificate itself, DER.
    pub certificate: Vec<u8>,
    /// From when it may be used.
    pub not_before: Timestamp,
    /// Until when.
    pub not_after: Timestamp,
    /// The node that has its key.
    pub node: String,
    /// What it is for: the configured name of the second factor.
    pub factor: String,
    /// `in use` or `standby`.
    pub state: String,
}
