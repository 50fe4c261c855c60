//! Where log lines go: standard error, for people or as JSON, written by a thread of its own so that a slow terminal or pipe
//! never holds up a sign-in.

use gateway_core::config::{LogFormat, LogLevel, Telemetry};
use tracing_appender::non_blocking::{NonBlocking, NonBlockingBuilder, WorkerGuard};
use tracing_subscriber::filter::{LevelFilter, Targets};
use tracing_subscriber::fmt;
use tracing_subscriber::prelude::*;

/// Lines that may wait for the writer. Beyond it lines are dropped rather than sign-ins held up.
const WAITING: usize = 32_768;

/// Starts logging for the process. Dropping the guard writes what is left.
pub fn start(settings: &Telemetry) -> WorkerGuard {
    let (writer, guard): (NonBlocking, WorkerGuard) =
        NonBlockingBuilder::default().buffered_lines_limit(WAITING).lossy(true).finish(std::io::stderr());
    let level = match settings.log_level {
        LogLevel::Trace => LevelFilter::TRACE,
        LogLevel::Debug => LevelFilter::DEBUG,
        LogLevel::Info => LevelFilter::INFO,
        LogLevel::Warn => LevelFilter::WARN,
        LogLevel::Error => LevelFilter::ERROR,
    };
    // The web server tells of its own workings at info.
    let filter = Targets::new().with_default(level).with_target("actix_server", LevelFilter::WARN.min(level));
    let registry = tracing_subscriber::registry().with(filter);
    // A second start in one process (tests) keeps the first one's subscriber.
    let _ = match settings.log_format {
        LogFormat::Human => {
            let terminal = std::io::IsTerminal::is_terminal(&std::io::stderr());
            registry.with(fmt::layer().with_writer(writer).with_target(false).with_ansi(terminal)).try_init()
        }
        LogFormat::Json => {
            registry.with(fmt::layer().json().flatten_event(true).with_target(false).with_writer(writer)).try_init()
        }
    };
    guard
}
