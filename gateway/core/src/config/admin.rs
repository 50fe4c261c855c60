//! `[admin]`: health, metrics and orders over HTTP.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{net::SocketAddr, path::PathBuf, time::Duration};

use super::{
    Surroundings,
    networks::socket_address,
    report::Report,
    secrets::{Reference, fetch},
    units::Span,
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
    /// Connections that may be open at the port. When there are more, the address that holds the most loses its oldest one, so that
    /// nobody keeps a scraper out. Each takes two descriptors. Too few, and scrapers that come together disturb each other.
    #[schemars(range(min = 4, max = 4096), extend("x-reload" = "no"))]
    pub connections: u64,
    /// Longest time that somebody may take to say what they want.
    #[schemars(extend("x-min" = "100ms", "x-max" = "30s", "x-reload" = "no"))]
    pub request_timeout: Span,
}

impl Default for RawAdmin {
    fn default() -> Self {
        Self {
            listen: "127.0.0.1:9812".to_owned(),
            enabled: true,
            token_file: None,
            connections: 64,
            request_timeout: Span::secs(2),
        }
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
    /// Connections that may be open.
    pub connections: usize,
    /// Longest time that a request may take to come.
    pub request_timeout: Duration,
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
        let (shortest, longest) = (Span(Duration::from_millis(100)), Span::secs(30));
        report.within("admin.request_timeout", &self.request_timeout, shortest, longest);
        let connections = report.number("admin.connections", self.connections, 4..=4096);
        Admin { listen, enabled: self.enabled, token, connections, request_timeout: self.request_timeout.0 }
    }
}
