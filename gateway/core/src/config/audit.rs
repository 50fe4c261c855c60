//! `[audit]`: what happened, so that it can be proved later.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

use super::{
    FileSink, Surroundings,
    report::Report,
    units::{Size, Span},
};

/// What happened, so that it can be proved later: each factor that was judged, each outcome, each command of an operator, as lines of
/// JSON that are chained and sealed. A reply leaves when what led to it is on the disk.
///
/// ```toml
/// [audit]
/// folder = "/var/lib/orthrus/audit"
/// ```
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawAudit {
    /// The folder for the files: `audit.jsonl`, and those before it. It needs a disk with room: while it is full, nobody is answered and
    /// the node is not ready.
    #[schemars(extend("x-type" = "path", "x-default" = "no audit", "x-reload" = "no"))]
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
    /// The datagram socket of a syslog daemon, such as `/dev/log`, which gets each line too (RFC 5424). No reply waits for it: what it
    /// does not take is counted.
    #[schemars(extend("x-type" = "path", "x-default" = "none", "x-reload" = "no"))]
    pub syslog: Option<PathBuf>,
}

impl Default for RawAudit {
    fn default() -> Self {
        Self {
            folder: None,
            rotate_size: Size::mebibytes(256),
            rotate_after: Span::secs(86_400),
            retain: 0,
            syslog: None,
        }
    }
}

/// Where the audit goes, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Audit {
    /// Its files.
    pub file: FileSink,
    /// The socket of a syslog daemon.
    pub syslog: Option<PathBuf>,
}

impl RawAudit {
    pub(super) fn check(&self, report: &mut Report, around: &Surroundings<'_>) -> Option<Audit> {
        let year = Span::secs(8_784 * 3_600);
        report.within("audit.rotate_size", &self.rotate_size, Size(64 << 10), Size::mebibytes(64 << 10));
        report.within("audit.rotate_after", &self.rotate_after, Span::secs(60), year);
        let retain = report.number("audit.retain", self.retain, 0..=100_000);
        let Some(folder) = &self.folder else {
            if self.syslog.is_some() {
                let problem = "there is no audit to send there";
                report.fault("audit.syslog", problem, "Set audit.folder, or leave this out.");
            }
            return None;
        };
        let file = FileSink {
            folder: around.resolve(folder),
            rotate_size: self.rotate_size.0,
            rotate_after: self.rotate_after.0,
            retain,
        };
        Some(Audit { file, syslog: self.syslog.as_ref().map(|socket| around.resolve(socket)) })
    }
}
