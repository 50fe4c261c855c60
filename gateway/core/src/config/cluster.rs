//! `[cluster]`: what nodes share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, sync::Arc, time::Duration};

use super::{
    Peers, RawPeers, RawRedis, Redis, Surroundings,
    names::{is_label, label},
    report::Report,
    secrets::{Reference, fetch},
    units::Span,
};
use crate::secret::Secret;

/// What this node is called and where attempts, challenges and used codes are kept.
///
/// ```toml
/// [cluster]
/// store = "memory"
/// key_file = "secrets/cluster-key"
/// ```
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawCluster {
    /// Where they are kept.
    #[schemars(extend("x-reload" = "no"))]
    pub store: StoreKind,
    /// File with at least 32 octets that seal the State of a challenge and the records in a shared store; a trailing newline is stripped, so that text such as
    /// the output of `openssl rand -base64 48` serves best. Without it each start draws a random key, and a challenge
    /// that was open before is void. Nodes that share a store need the same. Whoever has the key can forge a State and outcomes.
    #[schemars(extend("x-type" = "path", "x-default" = "a random key for each start", "x-reload" = "no"))]
    pub key_file: Option<PathBuf>,
    /// File with another key under which records in the store open as well. To change the key without a gap, restart all nodes
    /// three times: with the new key here and `names_key_file` set to the old one; with the two changed about; without
    /// `second_key_file`. States open under either key too.
    #[schemars(extend("x-type" = "path", "x-reload" = "no"))]
    pub second_key_file: Option<PathBuf>,
    /// File with the key that makes the names of users in the store. It only hides names, and must stay as it is: under other
    /// names no node finds what is remembered of users, the counters of their tokens included.
    #[schemars(extend("x-type" = "path", "x-default" = "key_file", "x-reload" = "no"))]
    pub names_key_file: Option<PathBuf>,
    /// The name of this node in logs and metrics: 1 to 64 letters, digits, dots, underscores and hyphens. Two nodes must not have
    /// the same.
    #[schemars(extend("x-type" = "name", "x-default" = "the host name", "x-reload" = "no"))]
    pub node_id: Option<String>,
    /// What nodes share.
    #[schemars(extend("x-reload" = "no"))]
    pub share: Share,
    /// What this node does while the shared store cannot be reached.
    #[schemars(extend("x-reload" = "no"))]
    pub when_store_is_lost: WhenStoreIsLost,
    /// A node that gave no sign of life in the shared store for this long is dead, and others go on with its prompts. It gives five
    /// signs in that time. Too short, and a node that pauses for a moment loses its prompts to others; too long, and people wait.
    #[schemars(extend("x-min" = "1s", "x-max" = "60s", "x-reload" = "no"))]
    pub dead_after: Span,
    /// The newest version that records in the store are written as. Nodes write the newest that all of them open, so that a rolling
    /// upgrade needs nothing here. Set the version of the release before, and you can go back to it until you take this out again.
    #[schemars(range(min = 1, max = 3), extend("x-default" = "the newest", "x-reload" = "no"))]
    pub newest_records: Option<u8>,
    /// The Redis that nodes share.
    pub redis: RawRedis,
    /// How nodes speak to each other.
    pub peers: RawPeers,
}

impl Default for RawCluster {
    fn default() -> Self {
        Self {
            store: StoreKind::default(),
            key_file: None,
            second_key_file: None,
            names_key_file: None,
            node_id: None,
            share: Share::default(),
            when_store_is_lost: WhenStoreIsLost::default(),
            dead_after: Span::secs(5),
            newest_records: None,
            redis: RawRedis::default(),
            peers: RawPeers::default(),
        }
    }
}

/// What nodes share.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum Share {
    /// What second factors need. A sign-in without one costs the store nothing; the same packet at two nodes is checked twice.
    #[default]
    SecondFactor,
    /// Packets too: one packet is one question to a first factor, whichever nodes it reaches, and has one reply. Two more round trips
    /// for each sign-in.
    All,
}

/// What a node does without the shared store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum WhenStoreIsLost {
    /// It goes on with what it knows, alone: a NAS that changes nodes meanwhile has its user prompted again. Codes of local
    /// tokens are refused, because another node may have taken them. When the store is back, it is told what happened.
    #[default]
    Local,
    /// Sign-ins that need the store stay unanswered, so that NASes try another server; the node is not ready.
    Refuse,
}

/// Where attempts are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum StoreKind {
    /// In this process: needs no server, and is for one node. The used codes are also written to `state_dir`.
    #[default]
    Memory,
    /// In Redis, which all nodes share: any of them answers any challenge, and a repeat that reaches another node joins the
    /// prompt that is out. Needs `key_file`.
    Redis,
}

/// What nodes share, checked.
#[derive(Debug)]
pub struct Cluster {
    /// Where attempts are kept.
    pub store: StoreKind,
    /// What seals State values, at least 32 octets; `None` means a random key for each process.
    pub key: Option<Secret>,
    /// What opens records as well.
    pub second_key: Option<Secret>,
    /// What makes names in the store, if it is another key.
    pub names_key: Option<Secret>,
    /// The name of this node.
    pub node_id: Arc<str>,
    /// What nodes share.
    pub share: Share,
    /// What this node does without the shared store.
    pub when_store_is_lost: WhenStoreIsLost,
    /// Without a sign of life for this long a node is dead.
    pub dead_after: Duration,
    /// The newest version that records are written as.
    pub newest_records: u8,
    /// The shared store; `None` where there is none.
    pub redis: Option<Redis>,
    /// How nodes speak to each other; `None`: they do not.
    pub peers: Option<Peers>,
}

/// The newest version of records in a shared store that this release knows.
pub const NEWEST_RECORDS: u8 = 3;

/// As many octets as the keys that are derived from it have.
const SHORTEST_KEY: usize = 32;

impl RawCluster {
    pub(super) fn check(&self, report: &mut Report, around: &Surroundings<'_>) -> Cluster {
        let mut key = |file: Option<&PathBuf>, key: &'static str| {
            let (path, key) = fetch(report, around, "cluster", &Reference { file, env: None, key })?;
            let length = key.expose().len();
            if length < SHORTEST_KEY {
                let problem = format!("the key has {length} octets and needs {SHORTEST_KEY}");
                report.fault(path, problem, "Make one: openssl rand -base64 48.");
            }
            Some(key)
        };
        let second_key = key(self.second_key_file.as_ref(), "second_key");
        let names_key = key(self.names_key_file.as_ref(), "names_key");
        let key = key(self.key_file.as_ref(), "key");
        let redis = (self.store == StoreKind::Redis).then(|| {
            if self.key_file.is_none() {
                let remedy = "Make one and give it to every node: openssl rand -base64 48.";
                report.fault("cluster.key_file", "is left out, and nodes that share a store need the same key", remedy);
            }
            self.redis.check(report, around)
        });
        let peers = self.peers.check(report, around, redis.is_some());
        let path = "cluster.node_id";
        let node_id = match &self.node_id {
            Some(name) => label(report, path, name),
            None => {
                if !is_label(around.host_name) {
                    let problem = format!("is left out, and the host name `{}` cannot be a name", around.host_name);
                    report.fault(path, problem, "Set it to a name of this node.");
                }
                around.host_name.into()
            }
        };
        report.within("cluster.dead_after", &self.dead_after, Span::secs(1), Span::secs(60));
        let newest_records = self.newest_records.unwrap_or(NEWEST_RECORDS);
        report.within("cluster.newest_records", &newest_records, 1, NEWEST_RECORDS);
        let (when_store_is_lost, dead_after) = (self.when_store_is_lost, self.dead_after.0);
        Cluster {
            store: self.store,
            key,
            second_key,
            names_key,
            node_id,
            share: self.share,
            when_store_is_lost,
            dead_after,
            newest_records,
            redis,
            peers,
        }
    }
}
