//! `[admin]`: health, metrics and orders over HTTP.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, path::PathBuf};

use super::{
    Surroundings,
    networks::socket_address,
    report::Report,
    secrets::{Reference, fetch},
};
use crate::secret::Secret;

/// Health, metrics and orders over HTTP.
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
    /// File with the token that orders must bear (`Authorization: Bearer …`), at least 32 characters; a trailing newline is not part
    /// of it. Without it nobody may give orders over HTTP. It travels unencrypted: beyond the loopback address, put a proxy with TLS
    /// before it.
    #[schemars(extend("x-type" = "path", "x-default" = "no orders"))]
    pub token_file: Option<PathBuf>,
}

impl Default for RawAdmin {
    fn default() -> Self {
        Self { listen: "127.0.0.1:9812".to_owned(), enabled: true, token_file: None }
    }
}

/// As many characters as nobody guesses.
const SHORTEST_TOKEN: usize = 32;

/// Health, metrics and orders, checked.
#[derive(Debug, PartialEq, Eq)]
pub struct Admin {
    /// The address to serve on.
    pub listen: SocketAddr,
    /// Whether to serve at all.
    pub enabled: bool,
    /// What orders must bear; `None`: there are none.
    pub token: Option<Secret>,
}

impl RawAdmin {
    pub(super) fn check(&self, report: &mut Report, around: &Surroundings<'_>) -> Admin {
        let path = "admin.listen";
        let listen = socket_address(report, path, &self.listen);
        let listen = listen.unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0)));
        if self.enabled && !listen.ip().is_loopback() {
            let problem =
                format!("{listen} serves health and metrics, without a password, to everybody who reaches it");
            report.warn(path, problem, "Use 127.0.0.1, or let a firewall admit only what watches this node.");
        }
        let reference = Reference { file: self.token_file.as_ref(), env: None, key: "token" };
        let token = fetch(report, around, "admin", &reference).map(|(path, token)| {
            let length = token.expose().len();
            if length < SHORTEST_TOKEN {
                let problem = format!("the token has {length} octets and needs {SHORTEST_TOKEN}");
                report.fault(&*path, problem, "Make one: openssl rand -hex 32.");
            } else if !token.expose().iter().all(u8::is_ascii_graphic) {
                let problem = "the token has characters that no header can carry";
                report.fault(&*path, problem, "Make one: openssl rand -hex 32.");
            } else if self.enabled && !listen.ip().is_loopback() {
                let problem = format!("the token travels unencrypted to {listen}");
                report.warn(&*path, problem, "Use 127.0.0.1 and a proxy with TLS before it, or the command line.");
            }
            token
        });
        Admin { listen, enabled: self.enabled, token }
    }
}
