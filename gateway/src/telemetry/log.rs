//! Where log lines go: standard error, for people or as JSON, by way of [`lines`]. Live spans go to the traces, and stay out of the
//! lines.

use super::lines::{self, Guard};
use super::trace::{self, Tracing};
use gateway_core::config::{LogFormat, LogLevel, Telemetry};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;
use tracing_subscriber::{Layer, Registry, fmt};

/// Libraries that tell of their own workings, which are not ours to tell: with headers and octets at `trace`, where secrets are.
const QUIET: [&str; 4] = ["actix_server", "h2", "hyper", "hyper_util"];

/// Starts logging for the process, and takes live spans to `traces`. Dropping the guard writes what is left.
///
/// # Errors
///
/// The system has no thread that writes.
pub fn start(settings: &Telemetry, traces: Option<&Tracing>) -> std::io::Result<Guard> {
    let (writer, guard) = lines::start()?;
    let level = match settings.log_level {
        LogLevel::Trace => LevelFilter::TRACE,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    let quiet = QUIET.map(|target| (target, LevelFilter::WARN.min(level)));
    let filter = Targets::new().with_default(level).with_targets(quiet).with_target(trace::TARGET, LevelFilter::OFF);
    let lines: Box<dyn Layer<Registry> + Send + Sync> = match settings.log_format {
        LogFormat::Human => {
            let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            fmt::layer().with_writer(writer).with_target(false).with_ansi(terminal).boxed()
        }
        LogFormat::Json => fmt::layer().json().flatten_event(true).with_target(false).with_writer(writer).boxed(),
    };
    // A second start in one process (tests) keeps the first one's subscriber.
    let _ = match traces {
        None => tracing_subscriber::registry().with(lines).with(filter).try_init(),
        Some(traces) => tracing_subscriber::registry().with(lines.with_filter(filter)).with(traces.layer()).try_init(),
    };
    Ok(guard)
}
