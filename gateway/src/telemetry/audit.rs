//! The metrics of the audit.

use super::metrics::{Catalogue, counters, register};
use prometheus::{IntCounter, IntCounterVec, IntGauge};

/// What the audit counts.
pub struct AuditMeters {
    /// Lines that are durable, by event.
    pub lines: IntCounterVec,
    /// Calls of fdatasync.
    pub syncs: IntCounter,
    /// Groups of lines that did not get to the disk.
    pub failures: IntCounter,
    /// Whether the last write failed.
    pub failing: IntGauge,
    /// Lines that did not get where they should.
    pub lost: IntCounterVec,
}

impl AuditMeters {
    pub(super) fn new(r: &mut Catalogue) -> prometheus::Result<Self> {
        Ok(Self {
            lines: counters(r, "orthrus_audit_lines_total", "Lines of the audit that are on the disk.", &["event"])?,
            syncs: register(
                r,
                IntCounter::new("orthrus_audit_syncs_total", "Calls of fdatasync; each covers a group of lines."),
            )?,
            failures: register(
                r,
                IntCounter::new(
                    "orthrus_audit_failures_total",
                    "Groups of lines that did not get to the disk; nothing that they tell of was answered.",
                ),
            )?,
            failing: register(
                r,
                IntGauge::new(
                    "orthrus_audit_failing",
                    "1 while the audit does not get to the disk, and nobody is answered.",
                ),
            )?,
            lost: counters(
                r,
                "orthrus_audit_lost_total",
                "Lines of the audit that found no place: queue and disk (nothing that they tell of was answered), syslog (the daemon did not take them; the files have them).",
                &["place"],
            )?,
        })
    }
}
