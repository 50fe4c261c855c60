//! `[admin]`: health and metrics over HTTP.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::net::SocketAddr;

use super::{networks::socket_address, report::Report};

/// Health and metrics over HTTP.
///
/// ```toml
/// [admin]
/// listen = "127.0.0.1:9812"
/// ```
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawAdmin {
    /// The address to serve on, as `address:port`. Health and metrics ask for no password: beyond the loopback address everybody who reaches it
    /// reads the names of your clients and how many sign in. Port 0 lets the system choose a port.
    #[schemars(extend("x-type" = "socket address", "x-reload" = "no"))]
    pub listen: String,
    /// Whether to serve at all. Without it nothing can tell from outside whether this node works.
    #[schemars(extend("x-reload" = "no"))]
    pub enabled: bool,
}

impl Default for RawAdmin {
    fn default() -> Self {
        Self { listen: "127.0.0.1:9812".to_owned(), enabled: true }
    }
}

/// Health and metrics, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// The address to serve on.
    pub listen: SocketAddr,
    /// Whether to serve at all.
    pub enabled: bool,
}

impl RawAdmin {
    pub(super) fn check(&self, report: &mut Report) -> Admin {
        let path = "admin.listen";
        let listen = socket_address(report, path, &self.listen);
        let listen = listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
        if self.enabled && !listen.ip().is_loopback() {
            let problem =
                format!("{listen} serves health and metrics, without a password, to everybody who reaches it");
            report.warn(path, problem, "Use 127.0.0.1, or let a firewall admit only what watches this node.");
        }
        Admin { listen, enabled: self.enabled }
    }
}
