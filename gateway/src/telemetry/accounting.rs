//! The metrics of accounting.

use super::metrics::{Catalogue, counters, gauges, register};
use prometheus::{IntCounter, IntCounterVec, IntGauge, IntGaugeVec};

/// What accounting counts.
pub struct AccountingMeters {
    /// Records that were written, by client and status.
    pub records: IntCounterVec,
    /// Records that came again, by client.
    pub duplicates: IntCounterVec,
    /// Records with a time that cannot be, by client and what is wrong.
    pub impossible_times: IntCounterVec,
    /// Calls of fdatasync, by sink.
    pub syncs: IntCounterVec,
    /// Groups of records that did not get to the disk, by sink.
    pub failures: IntCounterVec,
    /// Whether the sink's last write failed.
    pub failing: IntGaugeVec,
    /// Damage found and put aside, by sink.
    pub damaged: IntCounterVec,
    /// Open sessions that are known.
    pub sessions: IntGauge,
    /// Reports of sessions that other nodes told and that were news.
    pub sessions_heard: IntCounter,
    /// Octets in the spool that the other server has not answered for.
    pub spool_bytes: IntGauge,
    /// Records that the other server has answered for.
    pub forwarded: IntCounter,
    /// Records that were sent to it again.
    pub resent: IntCounter,
}

impl AccountingMeters {
    pub(super) fn new(r: &mut Catalogue) -> prometheus::Result<Self> {
        Ok(Self {
            records: counters(
                r,
                "orthrus_accounting_records_total",
                "Accounting records that every sink has on the disk and that were answered.",
                &["client", "status"],
            )?,
            duplicates: counters(
                r,
                "orthrus_accounting_duplicates_total",
                "Accounting records that came again: answered, and not written again.",
                &["client"],
            )?,
            impossible_times: counters(
                r,
                "orthrus_accounting_impossible_times_total",
                "Accounting records with a time that cannot be: future, before_2000, delay. They are written and marked.",
                &["client", "time"],
            )?,
            syncs: counters(
                r,
                "orthrus_accounting_syncs_total",
                "Calls of fdatasync; each covers a group of records.",
                &["sink"],
            )?,
            failures: counters(
                r,
                "orthrus_accounting_failures_total",
                "Groups of records that did not get to the disk; none of them was answered.",
                &["sink"],
            )?,
            failing: gauges(
                r,
                "orthrus_accounting_failing",
                "1 while records do not get to the disk, and nothing is answered.",
                &["sink"],
            )?,
            damaged: counters(
                r,
                "orthrus_accounting_damaged_total",
                "Ends of files that could not be read at the start and were put aside: half a record after a crash, or damage.",
                &["sink"],
            )?,
            sessions: register(
                r,
                IntGauge::new(
                    "orthrus_accounting_sessions",
                    "Open sessions, as accounting reports them, at all nodes that share a store.",
                ),
            )?,
            sessions_heard: register(
                r,
                IntCounter::new(
                    "orthrus_accounting_sessions_heard_total",
                    "Reports of sessions that other nodes told and that were news.",
                ),
            )?,
            spool_bytes: register(
                r,
                IntGauge::new(
                    "orthrus_accounting_spool_bytes",
                    "Octets of records that the server of forward_to has not answered for.",
                ),
            )?,
            forwarded: register(
                r,
                IntCounter::new(
                    "orthrus_accounting_forwarded_total",
                    "Records that the server of forward_to has answered for.",
                ),
            )?,
            resent: register(
                r,
                IntCounter::new(
                    "orthrus_accounting_resent_total",
                    "Records that were sent again, because the server of forward_to had not answered.",
                ),
            )?,
        })
    }
}
