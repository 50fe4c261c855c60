//! Where log lines go: standard error, for people or as JSON, written by a thread of its own so that a slow terminal or pipe
//! never holds up a sign-in. Live spans go to the traces, and stay out of the lines.

use super::trace::{self, Tracing};
use gateway_core::config::{LogFormat, LogLevel, Telemetry};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::prelude::*;
use tracing_subscriber::{Layer, Registry, fmt};

/// Lines that may wait for the writer. Beyond it lines are dropped rather than sign-ins held up.
const WAITING: usize = 32_768;

/// Libraries that tell of their own workings, which are not ours to tell: with headers and octets at `trace`, where secrets are.
const QUIET: [&str; 4] = ["actix_server", "h2", "hyper", "hyper_util"];

/// Starts logging for the process, and takes live spans to `traces`. Dropping the guard writes what is left.
pub fn start(settings: &Telemetry, traces: Option<&Tracing>) -> WorkerGuard {
    let (writer, guard): (NonBlocking, WorkerGuard) =
        NonBlockingBuilder::default().buffered_lines_limit(WAITING).lossy(true).finish(std::io::stderr());
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
    guard
}
