//! `[cluster.peers]`: how nodes speak to each other.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{Surroundings, networks::socket_address, redis::host_and_port, report::Report, units::Span};

/// How nodes speak to each other: over TCP, under TLS 1.3 with certificates on both sides. A packet that only another node can
/// go on with is sent there, and its reply leaves from the node that received the packet. Needs `store = "redis"`, where nodes
/// find each other. Of two nodes the one whose name comes first connects to the other, so that both must be reachable for
/// those before them.
///
/// ```toml
/// [cluster.peers]
/// listen = "192.0.2.5:9813"
/// certificate_file = "peer.pem"
/// key_file = "peer.key"
/// ca_file = "peers-ca.pem"
/// ```
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawPeers {
    /// The TCP address to take connections of other nodes on, as `address:port`. Without it this node neither takes nor makes
    /// any. Firewall it so that only nodes reach it.
    #[schemars(extend("x-type" = "socket address", "x-default" = "none: nodes do not speak to each other", "x-reload" = "no"))]
    pub listen: Option<String>,
    /// Where other nodes reach it, as `host:port`: needed where `listen` is a wildcard address, or is behind a translation of
    /// addresses.
    #[schemars(extend("x-type" = "host:port", "x-default" = "listen", "x-reload" = "no"))]
    pub address: Option<String>,
    /// File with this node's certificate and those between it and the authority, PEM. Its subject alternative names must hold
    /// `cluster.node_id` as a DNS name, and it must be good for servers and for clients (extended key usage). A changed file is
    /// read again by itself, and connections are made anew under it.
    #[schemars(extend("x-type" = "path", "x-default" = "required with listen", "x-reload" = "no"))]
    pub certificate_file: Option<PathBuf>,
    /// File with its key, PEM, not encrypted.
    #[schemars(extend("x-type" = "path", "x-default" = "required with listen", "x-reload" = "no"))]
    pub key_file: Option<PathBuf>,
    /// File with the certificates, PEM, that may sign those of nodes. Use an authority of the cluster's own: whoever it signs for
    /// and who can write to the store is a node. During a change of authority it holds both.
    #[schemars(extend("x-type" = "path", "x-default" = "required with listen", "x-reload" = "no"))]
    pub ca_file: Option<PathBuf>,
    /// How long it may take to connect and to say who one is. A connection on which nothing was heard for three times as long is
    /// given up; each side says something at least once in that time.
    #[schemars(extend("x-min" = "100ms", "x-max" = "30s", "x-reload" = "no"))]
    pub timeout: Span,
    /// Packets that may be on their way to one node, or from it, at a time. Beyond it they are left to the NAS, which asks again.
    #[schemars(range(min = 1, max = 65_536), extend("x-reload" = "no"))]
    pub in_flight: u64,
    /// Connections that may be open before they have said who they are. When there are more, the address that has the most loses
    /// its oldest.
    #[schemars(range(min = 1, max = 4096), extend("x-reload" = "no"))]
    pub connections: u64,
}

impl Default for RawPeers {
    fn default() -> Self {
        Self {
            listen: None,
            address: None,
            certificate_file: None,
            key_file: None,
            ca_file: None,
            timeout: Span::secs(2),
            in_flight: 1024,
            connections: 64,
        }
    }
}

/// How nodes speak to each other, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Peers {
    /// Where to take connections.
    pub listen: SocketAddr,
    /// Where others find it, `host:port`; `None`: where it listens.
    pub address: Option<String>,
    /// This node's certificate, PEM.
    pub certificate_file: PathBuf,
    /// Its key, PEM.
    pub key_file: PathBuf,
    /// Who may sign, PEM.
    pub ca_file: PathBuf,
    /// For connecting and saying who one is.
    pub timeout: Duration,
    /// Packets on their way to or from one node.
    pub in_flight: usize,
    /// Connections of nobody knows whom.
    pub connections: usize,
}

impl RawPeers {
    /// `None`: nodes do not speak to each other. `shared`: there is a store where they find each other.
    pub(super) fn check(&self, report: &mut Report, around: &Surroundings<'_>, shared: bool) -> Option<Peers> {
        let path = |key: &str| format!("cluster.peers.{key}");
        report.within(&path("timeout"), &self.timeout, Span(Duration::from_millis(100)), Span::secs(30));
        let in_flight = report.number(&path("in_flight"), self.in_flight, 1..=65_536);
        let connections = report.number(&path("connections"), self.connections, 1..=4096);
        let text = self.listen.as_ref()?;
        let listen = socket_address(report, &path("listen"), text);
        if !shared {
            let problem = "there is nobody to speak to: nodes find each other in the store that they share";
            report.fault(path("listen"), problem, "Set cluster.store = \"redis\", or remove this section.");
        }
        match &self.address {
            Some(address) if host_and_port(address).is_none() => {
                let remedy = "Write host:port, such as node-1.example:9813 or [2001:db8::1]:9813.";
                report.fault(path("address"), format!("`{address}` is no host and port"), remedy);
            }
            None if listen.is_some_and(|listen| listen.ip().is_unspecified()) => {
                let problem = "is left out, and `listen` is a wildcard address, where nobody finds this node";
                report.fault(path("address"), problem, "Write where other nodes reach this one, as host:port.");
            }
            _ => {}
        }
        let mut file = |key: &str, file: &Option<PathBuf>| {
            if file.is_none() {
                let problem = "is left out: nodes speak over mutual TLS only";
                report.fault(path(key), problem, "Give each node a certificate of an authority of their own.");
            }
            around.resolve(file.as_deref().unwrap_or(Path::new("")))
        };
        let certificate_file = file("certificate_file", &self.certificate_file);
        let key_file = file("key_file", &self.key_file);
        let ca_file = file("ca_file", &self.ca_file);
        Some(Peers {
            listen: listen?,
            address: self.address.clone(),
            certificate_file,
            key_file,
            ca_file,
            timeout: self.timeout.0,
            in_flight,
            connections,
        })
    }
}
