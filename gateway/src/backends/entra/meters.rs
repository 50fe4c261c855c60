//! The metrics of one factor.

use crate::telemetry::metrics::Metrics;
use std::sync::Arc;
use std::time::Duration;

/// Counts for one factor.
pub(super) struct Meters {
    factor: Arc<str>,
    metrics: Arc<Metrics>,
}

/// What one question came to.
pub(super) enum Came {
    /// An answer with this status.
    Status(u16),
    /// Nothing was asked.
    NotAsked,
    /// It is not known what became of it.
    Lost,
    /// Time was up.
    Late,
}

impl Meters {
    pub(super) fn new(factor: Arc<str>, metrics: Arc<Metrics>) -> Self {
        Self { factor, metrics }
    }

    pub(super) fn asked(&self, endpoint: &str, came: &Came, took: Duration) {
        let status = match came {
            Came::Status(status) => match status {
                200 => "200",
                400 => "400",
                401 => "401",
                403 => "403",
                404 => "404",
                429 => "429",
                500 => "500",
                502 => "502",
                503 => "503",
                504 => "504",
                // The server chooses the number: it must not choose the number of series.
                100..=199 => "1xx",
                201..=299 => "2xx",
                300..=399 => "3xx",
                402..=499 => "4xx",
                _ => "5xx",
            },
            Came::NotAsked => "not_asked",
            Came::Lost => "lost",
            Came::Late => "late",
        };
        let metrics = &self.metrics;
        metrics.entra_requests.with_label_values(&[&self.factor, endpoint, status]).inc();
        metrics.entra_duration.with_label_values(&[&self.factor, endpoint]).observe(took.as_secs_f64());
    }

    pub(super) fn result(&self, operation: &str, class: &str, unknown: bool) {
        self.metrics.entra_results.with_label_values(&[&self.factor, operation, class]).inc();
        if unknown {
            self.metrics.entra_unknown.with_label_values(&[&self.factor]).inc();
        }
    }

    pub(super) fn breaker(&self, level: i64) {
        self.metrics.entra_breaker.with_label_values(&[&self.factor]).set(level);
    }

    pub(super) fn token_expires(&self, seconds: u64) {
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        self.metrics.entra_token_expiry.with_label_values(&[&self.factor]).set(seconds);
    }

    pub(super) fn certificate_expires(&self, place: usize, seconds: u64) {
        let name = format!("{}.certificates[{place}]", self.factor);
        let seconds = i64::try_from(seconds).unwrap_or(i64::MAX);
        self.metrics.certificate_expiry.with_label_values(&[&name, "entra"]).set(seconds);
    }

    /// What was true of a factor that is no longer configured.
    pub(super) fn forget(&self, certificates: usize) {
        let _ = self.metrics.entra_breaker.remove_label_values(&[&self.factor]);
        let _ = self.metrics.entra_token_expiry.remove_label_values(&[&self.factor]);
        for place in 0..certificates {
            let name = format!("{}.certificates[{place}]", self.factor);
            let _ = self.metrics.certificate_expiry.remove_label_values(&[&*name, "entra"]);
        }
    }
}
