//! What a Redis store needs to know.

use gateway_core::secret::Secret;
use std::time::Duration;

/// What a Redis store needs to know.
#[derive(Debug)]
pub struct Settings {
    /// How the servers hang together.
    pub mode: Mode,
    /// Hosts and ports: of the server, of the Sentinels, or of some nodes of the Redis Cluster.
    pub addresses: Vec<(String, u16)>,
    /// The ACL user.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// TLS, where it is to be spoken.
    pub tls: Option<Tls>,
    /// How long one question may take.
    pub timeout: Duration,
    /// A node that gave no sign of life for this long is dead.
    pub dead_after: Duration,
    /// Connections, each with a thread of its own; users are spread over them.
    pub connections: usize,
    /// The newest version that records are written as; more than is known is the newest that is.
    pub newest_records: u8,
    /// What all keys begin with.
    pub prefix: String,
    /// Records of users that a node keeps a copy of at most; a claim beyond it is refused.
    pub limit: usize,
    /// How long wrong codes count.
    pub wrong_codes_window: Duration,
    /// Nodes share packets too, so that one packet is one question to a first factor.
    pub share_packets: bool,
    /// What to do while the store cannot be reached.
    pub when_lost: WhenLost,
}

/// How the servers hang together.
#[derive(Debug)]
pub enum Mode {
    /// One server; of several addresses the first that answers.
    Standalone,
    /// A primary that Sentinels name.
    Sentinel {
        /// What the Sentinels call it.
        master: String,
        /// The ACL user at the Sentinels.
        username: Option<String>,
        /// Its password.
        password: Option<Secret>,
    },
    /// A Redis Cluster.
    Cluster,
}

impl Mode {
    /// Whether there are replicas that acknowledge.
    pub(crate) fn has_replicas(&self) -> bool {
        !matches!(self, Self::Standalone)
    }
}

/// TLS to the servers.
#[derive(Debug)]
pub struct Tls {
    /// Who may sign the server's certificate, as PEM; `None`: whoever the system trusts.
    pub ca: Option<Vec<u8>>,
    /// Our certificate and its key, as PEM.
    pub client: Option<(Vec<u8>, Secret)>,
}

/// What a node does while the store cannot be reached.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum WhenLost {
    /// It goes on with what it knows, alone, and refuses local OATH codes.
    Local,
    /// It is silent, so that NASes try another server.
    Refuse,
}
