//! `orthrus serve`.

use crate::config;
use crate::running::{BLOCKING, start};
use crate::telemetry::log;
use crate::telemetry::trace::Tracing;
use admin_api::Control;
use anyhow::{Context, bail};
use nix::sys::prctl;
use nix::sys::resource::{Resource, setrlimit};
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::runtime::Builder;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// How long the collector may take for the last spans.
const LAST_SPANS: Duration = Duration::from_secs(3);

pub(super) fn run(path: &Path) -> anyhow::Result<()> {
    let (loaded, watched) = config::load_watched(path);
    let loaded = loaded?;
    let tracing = Tracing::start(&loaded.config)?;
    let _log = log::start(&loaded.config.telemetry, tracing.as_deref()).context("no thread for the log")?;
    forbid_core_dumps();
    for warning in &loaded.warnings {
        tracing::warn!("{warning}");
    }
    let runtime = cluster::threads::warmed(Builder::new_current_thread().enable_all().max_blocking_threads(BLOCKING));
    let runtime = runtime.context("no thread for work that blocks: raise TasksMax in the unit")?;
    let served = actix_rt::System::with_tokio_rt(move || runtime).block_on(async {
        let signals = Signals::listen()?;
        let running = start(loaded.config, (Some(path.to_owned()), watched), tracing.clone()).await?;
        let given_up = tokio::select! {
            () = signals.obey(running.control()) => false,
            () = running.ended() => false,
            () = running.given_up() => true,
        };
        running.stop().await;
        if given_up {
            bail!("the listeners died too often; the log says of what");
        }
        Ok(())
    });
    if let Some(tracing) = tracing {
        tracing.stop(LAST_SPANS);
    }
    served
}

/// Shared secrets and passwords are in memory: no core dump, and no debugger of the same user, may have them.
fn forbid_core_dumps() {
    let limited = setrlimit(Resource::RLIMIT_CORE, 0, 0);
    if let Err(error) = limited.and_then(|()| prctl::set_dumpable(false)) {
        tracing::warn!(%error, "core dumps could not be forbidden: a crash may write secrets to the disk");
    }
}

/// The signals that a node heeds, listened for before it starts.
pub(super) struct Signals {
    hangup: Signal,
    terminate: Signal,
    interrupt: Signal,
}

impl Signals {
    pub(super) fn listen() -> std::io::Result<Self> {
        Ok(Self {
            hangup: signal(SignalKind::hangup())?,
            terminate: signal(SignalKind::terminate())?,
            interrupt: signal(SignalKind::interrupt())?,
        })
    }

    /// Reloads on SIGHUP; returns on SIGTERM and SIGINT.
    pub(super) async fn obey(mut self, control: Arc<dyn Control>) {
        loop {
            tokio::select! {
                _ = self.hangup.recv() => {
                    let control = control.clone();
                    // It reads files: not on a thread that serves. What came of it is logged where it happens.
                    let _ = actix_rt::task::spawn_blocking(move || control.reload()).await;
                }
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
            }
        }
    }
}
