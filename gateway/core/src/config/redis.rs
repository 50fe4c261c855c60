//! `[cluster.redis]`: the Redis that nodes share.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{path::PathBuf, time::Duration};

use super::{
    Surroundings,
    names::is_label,
    report::Report,
    secrets::{Reference, fetch},
    units::Span,
};
use crate::secret::Secret;

/// Where Redis (7 or later) is, and how this node proves itself to it. `store = "redis"` needs it.
///
/// What the ACL user must be allowed: `~orthrus:* &orthrus:* +@read +@write +@scripting +@connection +@pubsub +wait +info
/// +time`, and for `mode = "cluster"` also `+cluster`. Set `maxmemory-policy noeviction`: a store that forgets by itself
/// lets codes be used twice. `appendonly yes` keeps attempts over a restart.
///
/// ```toml
/// [cluster.redis]
/// mode = "sentinel"
/// addresses = ["sentinel-1:26379", "sentinel-2:26379", "sentinel-3:26379"]
/// sentinel_master = "orthrus"
/// username = "orthrus"
/// password_file = "secrets/redis-password"
/// tls = true
/// tls_ca_file = "redis-ca.pem"
/// ```
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawRedis {
    /// How the servers hang together.
    #[schemars(extend("x-reload" = "no"))]
    pub mode: RedisMode,
    /// Hosts and ports, `host:port`: of the server, of the Sentinels, or of some nodes of the Redis Cluster. Of several
    /// standalone servers the first that answers is used, which is for a name that moves and not for replicas.
    #[schemars(extend("x-type" = "list of host:port", "x-default" = "required with store = \"redis\"", "x-reload" = "no"))]
    pub addresses: Vec<String>,
    /// What the Sentinels call the primary.
    #[schemars(extend("x-type" = "name", "x-default" = "required with mode = \"sentinel\"", "x-reload" = "no"))]
    pub sentinel_master: Option<String>,
    /// The ACL user at the servers.
    #[schemars(extend("x-type" = "name", "x-default" = "the default user", "x-reload" = "no"))]
    pub username: Option<String>,
    /// File with its password.
    #[schemars(extend("x-type" = "path", "x-reload" = "no"))]
    pub password_file: Option<PathBuf>,
    /// The ACL user at the Sentinels.
    #[schemars(extend("x-type" = "name", "x-default" = "the default user", "x-reload" = "no"))]
    pub sentinel_username: Option<String>,
    /// File with its password.
    #[schemars(extend("x-type" = "path", "x-reload" = "no"))]
    pub sentinel_password_file: Option<PathBuf>,
    /// Speak TLS, to Sentinels too. The certificate must carry the host of `addresses`, and those that Sentinels or the Redis Cluster
    /// name.
    #[schemars(extend("x-reload" = "no"))]
    pub tls: bool,
    /// File with the certificates, PEM, that may sign the server's.
    #[schemars(extend("x-type" = "path", "x-default" = "those of the system", "x-reload" = "no"))]
    pub tls_ca_file: Option<PathBuf>,
    /// File with our own certificate, PEM, where the server wants one.
    #[schemars(extend("x-type" = "path", "x-reload" = "no"))]
    pub tls_certificate_file: Option<PathBuf>,
    /// File with its key, PEM.
    #[schemars(extend("x-type" = "path", "x-reload" = "no"))]
    pub tls_key_file: Option<PathBuf>,
    /// How long one question may take; a change of records may take twice as long, with a second try. Too short, and a busy
    /// Redis counts as lost; too long, and sign-ins wait for one that is gone.
    #[schemars(extend("x-min" = "50ms", "x-max" = "5s", "x-reload" = "no"))]
    pub timeout: Span,
    /// Connections to keep, each with a thread of its own.
    #[schemars(range(min = 1, max = 64), extend("x-reload" = "no"))]
    pub connections: u64,
    /// What all keys and channels begin with, for a Redis that others use too.
    #[schemars(extend("x-type" = "name", "x-reload" = "no"))]
    pub prefix: String,
}

impl Default for RawRedis {
    fn default() -> Self {
        Self {
            mode: RedisMode::Standalone,
            addresses: Vec::new(),
            sentinel_master: None,
            username: None,
            password_file: None,
            sentinel_username: None,
            sentinel_password_file: None,
            tls: false,
            tls_ca_file: None,
            tls_certificate_file: None,
            tls_key_file: None,
            timeout: Span(Duration::from_millis(400)),
            connections: 2,
            prefix: "orthrus".to_owned(),
        }
    }
}

/// How the servers hang together.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum RedisMode {
    /// One server.
    #[default]
    Standalone,
    /// A primary and replicas, watched by Sentinels. A claim counts only when a replica has it.
    Sentinel,
    /// A Redis Cluster. A claim counts only when a replica of its shard has it.
    Cluster,
}

/// The Redis that nodes share, checked.
#[derive(Debug, PartialEq, Eq)]
pub struct Redis {
    /// How the servers hang together.
    pub mode: RedisMode,
    /// Hosts and ports, at least one.
    pub addresses: Vec<(String, u16)>,
    /// What Sentinels call the primary; not empty with Sentinels.
    pub sentinel_master: String,
    /// The ACL user at the servers, and its password.
    pub username: Option<String>,
    /// Its password.
    pub password: Option<Secret>,
    /// The ACL user at the Sentinels.
    pub sentinel_username: Option<String>,
    /// Its password.
    pub sentinel_password: Option<Secret>,
    /// TLS.
    pub tls: Option<RedisTls>,
    /// For one question.
    pub timeout: Duration,
    /// Connections to keep.
    pub connections: usize,
    /// Before each key.
    pub prefix: String,
}

/// TLS to Redis.
#[derive(Debug, PartialEq, Eq)]
pub struct RedisTls {
    /// Who may sign, PEM.
    pub ca: Option<Secret>,
    /// Our certificate and its key, PEM.
    pub client: Option<(Secret, Secret)>,
}

/// `host:port`, with an IPv6 address in brackets.
pub(super) fn host_and_port(text: &str) -> Option<(String, u16)> {
    let (host, port) = text.rsplit_once(':')?;
    let host = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let port: u16 = port.parse().ok().filter(|port| *port != 0)?;
    let fits = !host.is_empty() && host.chars().all(|c| c.is_ascii_alphanumeric() || ".-_:".contains(c));
    fits.then(|| (host.to_owned(), port))
}

impl RawRedis {
    pub(super) fn check(&self, report: &mut Report, around: &Surroundings<'_>) -> Redis {
        const HERE: &str = "cluster.redis";
        let path = |key: &str| format!("{HERE}.{key}");
        if self.addresses.is_empty() {
            report.fault(path("addresses"), "is empty", "Write where Redis is: addresses = [\"redis.example:6379\"].");
        }
        let mut addresses = Vec::new();
        for (index, text) in self.addresses.iter().enumerate() {
            match host_and_port(text) {
                Some(address) => addresses.push(address),
                None => report.fault(
                    format!("{HERE}.addresses[{index}]"),
                    format!("`{text}` is no host and port"),
                    "Write host:port, such as redis.example:6379 or [2001:db8::1]:6379.",
                ),
            }
        }
        if self.mode == RedisMode::Sentinel && self.sentinel_master.as_ref().is_none_or(String::is_empty) {
            report.fault(path("sentinel_master"), "is left out", "Write what the Sentinels call the primary.");
        }
        report.within(&path("timeout"), &self.timeout, Span(Duration::from_millis(50)), Span::secs(5));
        if !is_label(&self.prefix) {
            let problem = format!("`{}` cannot be a prefix", self.prefix);
            report.fault(path("prefix"), problem, "Use 1 to 64 letters, digits, dots, underscores and hyphens.");
        }
        let mut file = |file: &Option<PathBuf>, key: &'static str| {
            fetch(report, around, HERE, &Reference { file: file.as_ref(), env: None, key }).map(|(_, secret)| secret)
        };
        let password = file(&self.password_file, "password");
        let sentinel_password = file(&self.sentinel_password_file, "sentinel_password");
        let ca = file(&self.tls_ca_file, "tls_ca");
        let certificate = file(&self.tls_certificate_file, "tls_certificate");
        let key = file(&self.tls_key_file, "tls_key");
        let files = [&self.tls_ca_file, &self.tls_certificate_file, &self.tls_key_file];
        if !self.tls && files.iter().any(|file| file.is_some()) {
            report.fault(
                path("tls"),
                "is false, and there are files for it",
                "Set tls = true, or leave the files out.",
            );
        }
        if self.tls_certificate_file.is_some() != self.tls_key_file.is_some() {
            report.fault(
                path("tls_key_file"),
                "a certificate needs its key, and a key its certificate",
                "Set both, or none.",
            );
        }
        if !self.tls && addresses.iter().any(|(host, _)| !is_local(host)) {
            let problem = "is false, and Redis is on another machine: who can read the network learns the password, and who \
                           can write to it may delete records";
            report.warn(path("tls"), problem, "Set tls = true.");
        }
        Redis {
            mode: self.mode,
            addresses,
            sentinel_master: self.sentinel_master.clone().unwrap_or_default(),
            username: self.username.clone(),
            password,
            sentinel_username: self.sentinel_username.clone(),
            sentinel_password,
            tls: self.tls.then(|| RedisTls { ca, client: certificate.zip(key) }),
            timeout: self.timeout.0,
            connections: report.number(&path("connections"), self.connections, 1..=64),
            prefix: self.prefix.clone(),
        }
    }
}

fn is_local(host: &str) -> bool {
    host == "localhost" || host.parse().is_ok_and(|ip: std::net::IpAddr| ip.is_loopback())
}
