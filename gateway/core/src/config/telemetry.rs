//! `[telemetry]`: what is written down, and where traces go.

use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::path::PathBuf;

use super::{Surroundings, report::Report};
use crate::secret::Secret;

/// What is written to the log, and which collector gets traces.
///
/// ```toml
/// [telemetry]
/// log_format = "json"
/// log_level = "info"
/// otlp_endpoint = "http://localhost:4318"
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
    /// Where traces go: the base URL of an OpenTelemetry collector that takes OTLP over HTTP, such as `http://localhost:4318`.
    /// Each sign-in is one trace, whose id is the `attempt` of its log lines; `/v1/traces` is added to the URL. Spans name the
    /// user as the log does, while `sign_in_log` is true, and never hold a password, code or secret. A collector that is down holds up
    /// no sign-in: what finds no place in the queue is dropped and counted. Without the key nothing is traced.
    #[schemars(extend("x-type" = "URL", "x-reload" = "no"))]
    pub otlp_endpoint: Option<String>,
    /// File with headers for the collector, such as a token: one `name: value` on each line.
    #[schemars(extend("x-type" = "path", "x-reload" = "no"))]
    pub otlp_headers_file: Option<PathBuf>,
    /// Which part of the sign-ins is traced. The id of an attempt decides, so that every node decides alike and a trace is whole or not
    /// there. A sign-in makes about a dozen spans: lower it where the collector cannot keep up.
    #[schemars(extend("x-type" = "number above 0, up to 1", "x-reload" = "no"))]
    pub otlp_sample: f64,
}

impl Default for RawTelemetry {
    fn default() -> Self {
        Self {
            log_format: LogFormat::Human,
            log_level: LogLevel::Info,
            sign_in_log: true,
            otlp_endpoint: None,
            otlp_headers_file: None,
            otlp_sample: 1.0,
        }
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
#[derive(Debug, PartialEq)]
pub struct Telemetry {
    /// The form of a line.
    pub log_format: LogFormat,
    /// The least important lines that are written.
    pub log_level: LogLevel,
    /// Whether every finished attempt writes one line.
    pub sign_in_log: bool,
    /// Where traces go, if they go anywhere.
    pub otlp: Option<Otlp>,
}

/// A collector of traces.
#[derive(Debug, PartialEq)]
pub struct Otlp {
    /// Its base URL, without a slash at the end.
    pub endpoint: String,
    /// Headers that it wants, by name.
    pub headers: Vec<(String, Secret)>,
    /// Which part of the attempts is traced: above 0, up to 1.
    pub sample: f64,
}

impl RawTelemetry {
    pub(super) fn check(&self, report: &mut Report, around: &Surroundings<'_>) -> Telemetry {
        if !self.sign_in_log {
            let problem = "nobody will be able to say who signed in";
            report.warn("telemetry.sign_in_log", problem, "Set it to true.");
        }
        Telemetry {
            log_format: self.log_format,
            log_level: self.log_level,
            sign_in_log: self.sign_in_log,
            otlp: self.otlp(report, around),
        }
    }

    fn otlp(&self, report: &mut Report, around: &Surroundings<'_>) -> Option<Otlp> {
        // A negation, so that what is not a number is refused as well.
        if !(self.otlp_sample > 0.0 && self.otlp_sample <= 1.0) {
            let problem = format!("{} is no part of the sign-ins", self.otlp_sample);
            let remedy = "Write a number above 0, up to 1; to trace nothing leave otlp_endpoint out.";
            report.fault("telemetry.otlp_sample", problem, remedy);
        }
        let headers = self.headers(report, around);
        let path = "telemetry.otlp_endpoint";
        let Some(endpoint) = &self.otlp_endpoint else {
            if self.otlp_headers_file.is_some() {
                let problem = "is used for nothing without otlp_endpoint";
                report.warn("telemetry.otlp_headers_file", problem, "Set otlp_endpoint, or leave this out.");
            }
            return None;
        };
        if let Err((problem, remedy)) = check_endpoint(endpoint) {
            report.fault(path, problem, remedy);
        } else if !headers.is_empty() && !endpoint.starts_with("https://") && !is_loopback(endpoint) {
            let problem = "the headers of otlp_headers_file go over the network in the clear";
            report.warn(path, problem, "Use https.");
        }
        Some(Otlp { endpoint: endpoint.trim_end_matches('/').to_owned(), headers, sample: self.otlp_sample })
    }

    /// No problem shows what the file holds.
    fn headers(&self, report: &mut Report, around: &Surroundings<'_>) -> Vec<(String, Secret)> {
        let path = "telemetry.otlp_headers_file";
        let Some(file) = &self.otlp_headers_file else { return Vec::new() };
        let content = match around.secrets.file(&around.resolve(file)) {
            Ok(content) => content,
            Err(problem) => {
                report.fault(path, problem, "Correct the path, or put the file there.");
                return Vec::new();
            }
        };
        let lines = content.expose().split(|octet| *octet == b'\n').enumerate();
        let mut headers = Vec::new();
        for (at, line) in lines.filter(|(_, line)| !line.trim_ascii().is_empty()) {
            match header(line) {
                Some(header) => headers.push(header),
                None => report.fault(path, format!("line {} is no header", at + 1), "Write `name: value`."),
            }
        }
        headers
    }
}

/// `name: value` (RFC 9110 §5.1, §5.5).
fn header(line: &[u8]) -> Option<(String, Secret)> {
    let (name, value) = line.split_at_checked(line.iter().position(|octet| *octet == b':')?)?;
    let value = value.get(1..)?.trim_ascii();
    let is_token = |octet: &u8| octet.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(octet);
    let good = !name.is_empty() && name.iter().all(is_token);
    let good = good && !value.is_empty() && value.iter().all(|octet| matches!(octet, b' '..=b'~'));
    good.then(|| (String::from_utf8_lossy(name).into_owned(), Secret::new(value.to_vec())))
}

/// Says nothing of what it is: somebody may have put a password into it.
fn check_endpoint(url: &str) -> Result<(), (&'static str, &'static str)> {
    const EXAMPLE: &str = "Write a URL such as http://localhost:4318.";
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let rest = rest.ok_or(("it does not begin with http:// or https://", EXAMPLE))?;
    if rest.contains('@') {
        return Err(("there is a user or a password in it", "Put what the collector asks for into otlp_headers_file."));
    }
    if rest.contains(['?', '#']) || !rest.bytes().all(|octet| octet.is_ascii_graphic()) {
        return Err(("it holds more than a host, a port and a path", EXAMPLE));
    }
    if rest.trim_end_matches('/').ends_with("/v1/traces") {
        return Err(("it ends with /v1/traces, which is added to it", "Leave that out."));
    }
    let authority = rest.split('/').next().unwrap_or_default();
    let (host, port) = match authority.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, Some(port)),
        _ => (authority, None),
    };
    if host.is_empty() || port.is_some_and(|port| port.parse::<u16>().is_err()) {
        return Err(("there is no host in it, or its port is none", EXAMPLE));
    }
    Ok(())
}

fn is_loopback(url: &str) -> bool {
    let host = url.trim_start_matches("http://");
    ["localhost", "127.", "[::1]"].iter().any(|name| host.starts_with(name))
}
