//! `[cluster]`: what nodes share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, sync::Arc};

use super::{
    Surroundings,
    names::{is_label, label},
    report::Report,
    secrets::{Reference, fetch},
};
use crate::secret::Secret;

/// What this node is called and where attempts, challenges and used codes are kept.
///
/// ```toml
/// [cluster]
/// store = "memory"
/// key_file = "secrets/cluster-key"
/// ```
#[derive(Clone, Debug, Default, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawCluster {
    /// Where they are kept.
    #[schemars(extend("x-reload" = "no"))]
    pub store: StoreKind,
    /// File with at least 32 octets that seal the State of a challenge; a trailing newline is stripped, so that text such as
    /// the output of `openssl rand -base64 48` serves best. Without it each start draws a random key, and a challenge
    /// that was open before is void. Whoever has the key can forge a State.
    #[schemars(extend("x-type" = "path", "x-default" = "a random key for each start", "x-reload" = "no"))]
    pub key_file: Option<PathBuf>,
    /// The name of this node in logs and metrics: 1 to 64 letters, digits, dots, underscores and hyphens. Two nodes must not have
    /// the same.
    #[schemars(extend("x-type" = "name", "x-default" = "the host name", "x-reload" = "no"))]
    pub node_id: Option<String>,
}

/// Where attempts are kept.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum StoreKind {
    /// In this process: needs no server, and is for one node. The used codes are also written to `state_dir`.
    #[default]
    Memory,
}

/// What nodes share, checked.
#[derive(Debug)]
pub struct Cluster {
    /// Where attempts are kept.
    pub store: StoreKind,
    /// What seals State values, at least 32 octets; `None` means a random key for each process.
    pub key: Option<Secret>,
    /// The name of this node.
    pub node_id: Arc<str>,
}

/// As many octets as the keys that are derived from it have.
const SHORTEST_KEY: usize = 32;

impl RawCluster {
    pub(super) fn check(&self, report: &mut Report, around: &Surroundings<'_>) -> Cluster {
        let reference = Reference { file: self.key_file.as_ref(), env: None, key: "key" };
        let key = fetch(report, around, "cluster", &reference).map(|(path, key)| {
            let length = key.expose().len();
            if length < SHORTEST_KEY {
                let problem = format!("the key has {length} octets and needs {SHORTEST_KEY}");
                report.fault(path, problem, "Make one: openssl rand -base64 48.");
            }
            key
        });
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
        Cluster { store: self.store, key, node_id }
    }
}
