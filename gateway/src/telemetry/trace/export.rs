//! The way to the collector: a bounded queue and a thread that empties it. Whoever writes a span never waits; what finds no place is
//! dropped and counted, and so is what the collector did not take. A collector that is down is told once, and then once a minute.

use super::client::Client;
use gateway_core::config::Otlp;
use opentelemetry::Context;
use opentelemetry_otlp::{SpanExporter as OtlpExporter, WithExportConfig, WithHttpConfig};
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{BatchConfigBuilder, BatchSpanProcessor, Span, SpanData, SpanExporter, SpanProcessor};
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

/// Spans that may wait. About a kilobyte each.
const LONGEST: usize = 16_384;
/// Spans in one request.
const BATCH: usize = 512;
/// How long a span waits for others.
const GATHER: Duration = Duration::from_secs(1);
/// How long the collector may take to answer.
const ANSWER: Duration = Duration::from_secs(5);
/// Between two log lines about a collector that takes nothing.
const SAY_AGAIN: Duration = Duration::from_secs(60);

/// The queue of spans. Clones share it.
#[derive(Clone, Debug)]
pub struct Queue {
    processor: Arc<BatchSpanProcessor>,
    tally: Arc<Tally>,
    limit: usize,
}

/// What waits and what was lost.
#[derive(Debug, Default)]
struct Tally {
    waiting: AtomicUsize,
    dropped: AtomicU64,
    /// When it was last said that the collector takes nothing; `None` while it does.
    said: Mutex<Option<Instant>>,
}

impl Queue {
    /// A queue to the collector. Not to be called within an async runtime.
    pub(super) fn to_collector(otlp: &Otlp, resource: &Resource) -> anyhow::Result<Self> {
        let mut exporter = OtlpExporter::builder()
            .with_http()
            .with_http_client(Client::new(otlp, ANSWER)?)
            .with_endpoint(format!("{}/v1/traces", otlp.endpoint))
            .with_timeout(ANSWER)
            .build()?;
        exporter.set_resource(resource);
        Ok(Self::new(exporter, LONGEST))
    }

    pub(super) fn new(exporter: impl SpanExporter + 'static, limit: usize) -> Self {
        let tally = Arc::<Tally>::default();
        let sender = Sender { exporter, tally: tally.clone() };
        let batches = BatchConfigBuilder::default()
            .with_max_queue_size(limit)
            .with_max_export_batch_size(BATCH.min(limit))
            .with_scheduled_delay(GATHER);
        Self { processor: Arc::new(BatchSpanProcessor::new(sender, batches.build())), tally, limit }
    }

    /// Puts a span in, or drops it.
    pub(super) fn put(&self, span: SpanData) {
        // Counted here, because the processor tells nobody what it drops.
        if self.tally.waiting.fetch_add(1, Ordering::Relaxed) >= self.limit {
            self.tally.waiting.fetch_sub(1, Ordering::Relaxed);
            self.tally.dropped.fetch_add(1, Ordering::Relaxed);
        } else {
            self.processor.on_end(span);
        }
    }

    pub(super) fn dropped(&self) -> u64 {
        self.tally.dropped.load(Ordering::Relaxed)
    }

    pub(super) fn stop(&self, patience: Duration) {
        if self.processor.shutdown_with_timeout(patience).is_err() {
            tracing::warn!(
                waiting = self.tally.waiting.load(Ordering::Relaxed),
                "the last spans may not have been sent"
            );
        }
    }
}

/// For the live spans.
impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        self.put(span);
    }

    fn force_flush(&self) -> OTelSdkResult {
        self.processor.force_flush()
    }

    /// The queue is stopped by whoever started it.
    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Sends batches, on the thread of the queue.
#[derive(Debug)]
struct Sender<T> {
    exporter: T,
    tally: Arc<Tally>,
}

impl<T: SpanExporter> SpanExporter for Sender<T> {
    async fn export(&self, batch: Vec<SpanData>) -> OTelSdkResult {
        let count = batch.len();
        self.tally.waiting.fetch_sub(count, Ordering::Relaxed);
        let sent = self.exporter.export(batch).await;
        let mut said = self.tally.said.lock().unwrap_or_else(PoisonError::into_inner);
        match &sent {
            Ok(()) => {
                if said.take().is_some() {
                    tracing::info!("the collector takes spans again");
                }
            }
            Err(error) => {
                let dropped = self.tally.dropped.fetch_add(count as u64, Ordering::Relaxed) + count as u64;
                if said.is_none_or(|at| at.elapsed() >= SAY_AGAIN) {
                    *said = Some(Instant::now());
                    tracing::warn!(%error, dropped, "spans cannot be sent to telemetry.otlp_endpoint: look at the collector");
                }
            }
        }
        sent
    }

    fn shutdown_with_timeout(&self, patience: Duration) -> OTelSdkResult {
        self.exporter.shutdown_with_timeout(patience)
    }
}
