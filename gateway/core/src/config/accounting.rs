//! `[accounting]`: what NASes report of sessions, and where it is written.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::{
    net::SocketAddr,
    path::{Path, PathBuf},
    time::Duration,
};

use super::{
    Surroundings,
    networks::socket_address,
    report::Report,
    secrets::{Reference, fetch, warn_if_weak},
    units::{Size, Span},
};
use crate::radius::SharedSecret;

/// What NASes report of sessions (RFC 2866), and where it is written. It is taken where there is a sink: `folder`, `forward_to`,
/// or both. A record is answered when every sink has it on the disk.
///
/// ```toml
/// [accounting]
/// folder = "/var/lib/orthrus/accounting"
/// max_sessions = 3
/// ```
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawAccounting {
    /// UDP addresses that take Accounting-Requests. The default is every address of the machine, on the assigned port 1813 and on
    /// 1646, which old VPN servers still use. Not used without a sink.
    #[schemars(extend("x-type" = "list of socket addresses", "x-reload" = "no"))]
    pub listen: Vec<String>,
    /// The folder for files of records: `accounting.jsonl`, one JSON object a line, and the files before it. It needs a disk
    /// with room: while it is full, nothing is answered.
    #[schemars(extend("x-type" = "path", "x-default" = "no files", "x-reload" = "no"))]
    pub folder: Option<PathBuf>,
    /// A file that has grown to this size is closed and the next one begun.
    #[schemars(extend("x-min" = "64KiB", "x-max" = "64GiB", "x-reload" = "no"))]
    pub rotate_size: Size,
    /// A file that was begun so long ago is closed and the next one begun.
    #[schemars(extend("x-min" = "1m", "x-max" = "8784h", "x-reload" = "no"))]
    pub rotate_after: Span,
    /// Closed files that are kept; the oldest are removed. 0 keeps all of them.
    #[schemars(range(min = 0, max = 100_000), extend("x-reload" = "no"))]
    pub retain: u64,
    /// The RADIUS server that records are sent on to, as `address:port`. They are kept in a spool until it has answered.
    #[schemars(extend("x-type" = "socket address", "x-default" = "nobody", "x-reload" = "no"))]
    pub forward_to: Option<String>,
    /// File that holds the secret shared with that server.
    #[schemars(extend("x-type" = "path", "x-default" = "required with forward_to", "x-reload" = "no"))]
    pub forward_secret_file: Option<PathBuf>,
    /// How long the server has to answer before a record is sent again. Each further time it has twice as long, up to a minute.
    #[schemars(extend("x-min" = "100ms", "x-max" = "30s", "x-reload" = "no"))]
    pub forward_timeout: Span,
    /// Records that may be under way to the server at the same time. Those of one session go one after another.
    #[schemars(range(min = 1, max = 200), extend("x-reload" = "no"))]
    pub forward_window: u64,
    /// The folder for records that the server has not answered yet.
    #[schemars(extend("x-type" = "path", "x-default" = "accounting-spool in state_dir", "x-reload" = "no"))]
    pub spool_folder: Option<PathBuf>,
    /// What the spool may hold. When it is full, nothing is answered until the server takes records again.
    #[schemars(extend("x-min" = "1MiB", "x-max" = "1024GiB", "x-reload" = "no"))]
    pub spool_max_bytes: Size,
    /// A session of which nothing was heard for so long has ended without a word. Longer than the interval of the NAS's
    /// Interim-Updates; without those, longer than the longest session.
    #[schemars(extend("x-min" = "1m", "x-max" = "8784h"))]
    pub session_timeout: Span,
    /// Open sessions that one user may have before a further sign-in is refused; 0 means any number. Nodes that share a
    /// store count the sessions of all. Too few locks out who was cut off, until `session_timeout`.
    #[schemars(range(min = 0, max = 10_000))]
    pub max_sessions: u64,
}

impl Default for RawAccounting {
    fn default() -> Self {
        Self {
            listen: ["0.0.0.0:1813", "[::]:1813", "0.0.0.0:1646", "[::]:1646"].map(str::to_owned).to_vec(),
            folder: None,
            rotate_size: Size::mebibytes(256),
            rotate_after: Span::secs(86_400),
            retain: 0,
            forward_to: None,
            forward_secret_file: None,
            forward_timeout: Span::secs(2),
            forward_window: 32,
            spool_folder: None,
            spool_max_bytes: Size::mebibytes(4096),
            session_timeout: Span::secs(86_400),
            max_sessions: 0,
        }
    }
}

/// What NASes report of sessions, checked.
#[derive(Debug, PartialEq, Eq)]
pub struct Accounting {
    /// UDP addresses for Accounting-Requests; none without a sink.
    pub listen: Vec<SocketAddr>,
    /// The files.
    pub file: Option<FileSink>,
    /// The other server.
    pub forward: Option<ForwardSink>,
    /// How long a session lives of which nothing is heard.
    pub session_timeout: Duration,
    /// Open sessions that one user may have; `None`: any number.
    pub max_sessions: Option<usize>,
}

/// Files of records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileSink {
    /// Where they are.
    pub folder: PathBuf,
    /// Octets after which the next one is begun.
    pub rotate_size: u64,
    /// The time after which the next one is begun.
    pub rotate_after: Duration,
    /// Closed files that are kept; 0: all.
    pub retain: usize,
}

/// A RADIUS server that records are sent on to.
#[derive(Debug, PartialEq, Eq)]
pub struct ForwardSink {
    /// Where it is.
    pub server: SocketAddr,
    /// What is shared with it.
    pub secret: SharedSecret,
    /// How long it has to answer, the first time.
    pub timeout: Duration,
    /// Records under way at the same time.
    pub window: usize,
    /// Where records wait.
    pub spool_folder: PathBuf,
    /// Octets that may wait.
    pub spool_max_bytes: u64,
}

impl RawAccounting {
    pub(super) fn check(&self, report: &mut Report, around: &Surroundings<'_>, state_dir: &Path) -> Accounting {
        let year = Span::secs(8_784 * 3_600);
        report.within("accounting.rotate_size", &self.rotate_size, Size(64 << 10), Size::mebibytes(64 << 10));
        report.within("accounting.rotate_after", &self.rotate_after, Span::secs(60), year);
        report.within("accounting.session_timeout", &self.session_timeout, Span::secs(60), year);
        let retain = report.number("accounting.retain", self.retain, 0..=100_000);
        let file = self.folder.as_ref().map(|folder| FileSink {
            folder: around.resolve(folder),
            rotate_size: self.rotate_size.0,
            rotate_after: self.rotate_after.0,
            retain,
        });
        let forward = self.forward(report, around, state_dir);
        let wanted = self.folder.is_some() || self.forward_to.is_some();
        let most: usize = report.number("accounting.max_sessions", self.max_sessions, 0..=10_000);
        if most > 0 && !wanted {
            report.fault(
                "accounting.max_sessions",
                "sessions are counted by accounting, and there is none",
                "Set accounting.folder or accounting.forward_to, or leave max_sessions out.",
            );
        }
        Accounting {
            listen: if wanted { self.listen(report) } else { Vec::new() },
            file,
            forward,
            session_timeout: self.session_timeout.0,
            max_sessions: (most > 0).then_some(most),
        }
    }

    fn listen(&self, report: &mut Report) -> Vec<SocketAddr> {
        let mut listen: Vec<SocketAddr> = Vec::new();
        for (index, text) in self.listen.iter().enumerate() {
            let path = format!("accounting.listen[{index}]");
            let Some(address) = socket_address(report, &path, text) else { continue };
            if address.port() != 0 && listen.contains(&address) {
                report.fault(path, format!("`{text}` is listed twice"), "Remove one of them.");
            }
            listen.push(address);
        }
        if self.listen.is_empty() {
            let remedy = "List at least one address, or leave the key out.";
            report.fault("accounting.listen", "there is a sink, and nothing to fill it", remedy);
        }
        listen
    }

    fn forward(&self, report: &mut Report, around: &Surroundings<'_>, state_dir: &Path) -> Option<ForwardSink> {
        let (least, most) = (Span(Duration::from_millis(100)), Span::secs(30));
        report.within("accounting.forward_timeout", &self.forward_timeout, least, most);
        report.within(
            "accounting.spool_max_bytes",
            &self.spool_max_bytes,
            Size::mebibytes(1),
            Size::mebibytes(1 << 20),
        );
        let window = report.number("accounting.forward_window", self.forward_window, 1..=200);
        let reference = Reference { file: self.forward_secret_file.as_ref(), env: None, key: "forward_secret" };
        let secret = fetch(report, around, "accounting", &reference);
        let server = socket_address(report, "accounting.forward_to", self.forward_to.as_ref()?)?;
        let Some((path, secret)) = secret else {
            if self.forward_secret_file.is_none() {
                let remedy = "Set it to the file that holds the secret shared with the server of forward_to.";
                report.fault("accounting.forward_secret_file", "there is no shared secret", remedy);
            }
            return None;
        };
        warn_if_weak(report, &path, &secret);
        Some(ForwardSink {
            server,
            secret: SharedSecret::new(secret),
            timeout: self.forward_timeout.0,
            window,
            spool_folder: match &self.spool_folder {
                Some(folder) => around.resolve(folder),
                None => state_dir.join("accounting-spool"),
            },
            spool_max_bytes: self.spool_max_bytes.0,
        })
    }
}
