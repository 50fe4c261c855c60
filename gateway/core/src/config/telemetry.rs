//! `[telemetry]`: what is written down.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

use super::report::Report;

/// What is written to the log.
///
/// ```toml
/// [telemetry]
/// log_format = "json"
/// log_level = "info"
/// ```
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(default, deny_unknown_fields)]
pub struct RawTelemetry {
    /// The form of a line.
    #[schemars(extend("x-reload" = "no"))]
    pub log_format: LogFormat,
    /// The least important lines that are written. Below `info` a busy node writes more than most disks take; above
    /// `warn` nobody sees what went wrong. No level ever writes a password, code or secret.
    #[schemars(extend("x-reload" = "no"))]
    pub log_level: LogLevel,
    /// Whether every finished attempt writes one line: who, by which client, which policy, with what result. Without it
    /// nobody can say later who signed in.
    pub sign_in_log: bool,
}

impl Default for RawTelemetry {
    fn default() -> Self {
        Self { log_format: LogFormat::Human, log_level: LogLevel::Info, sign_in_log: true }
    }
}

/// The form of a log line.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum LogFormat {
    /// For people.
    #[default]
    Human,
    /// One JSON object per line, for programs.
    Json,
}

/// How important a log line must be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
#[schemars(inline)]
pub enum LogLevel {
    /// Every step of every packet.
    Trace,
    /// Every decision.
    Debug,
    /// What happened.
    #[default]
    Info,
    /// What should not happen.
    Warn,
    /// What went wrong.
    Error,
}

/// What is written down, checked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Telemetry {
    /// The form of a line.
    pub log_format: LogFormat,
    /// The least important lines that are written.
    pub log_level: LogLevel,
    /// Whether every finished attempt writes one line.
    pub sign_in_log: bool,
}

impl RawTelemetry {
    pub(super) fn check(&self, report: &mut Report) -> Telemetry {
        if !self.sign_in_log {
            let problem = "nobody will be able to say who signed in";
            report.warn("telemetry.sign_in_log", problem, "Set it to true.");
        }
        Telemetry { log_format: self.log_format, log_level: self.log_level, sign_in_log: self.sign_in_log }
    }
}
