//! The metrics of a store that nodes share.

use super::metrics::{Catalogue, counters, gauges, register};
use cluster::{Counter, Member, Stats};
use prometheus::{Gauge, IntCounter, IntCounterVec, IntGauge, IntGaugeVec};
use std::collections::BTreeMap;
use std::sync::atomic::Ordering;

/// What a store that nodes share counts.
pub struct SharedStore {
    round_trips: IntCounter,
    events: IntCounterVec,
    lost: IntGauge,
    skew: Gauge,
    records: IntGauge,
    nodes: IntGaugeVec,
    conflict: IntGauge,
}

impl SharedStore {
    pub(super) fn new(r: &mut Catalogue) -> prometheus::Result<Self> {
        Ok(Self {
            round_trips: register(
                r,
                IntCounter::new("orthrus_store_round_trips_total", "Questions to the shared store."),
            )?,
            events: counters(
                r,
                "orthrus_store_events_total",
                "What happened at the shared store, by what: conflict (another node wrote first, and the transition ran again), \
                 error, tampered, other_version, failover, reasserted, diverged (two nodes had changed a record without \
                 each other), unacknowledged (by a replica), alone (a transition without the store).",
                &["event"],
            )?,
            lost: register(r, IntGauge::new("orthrus_store_lost", "1 while the shared store cannot be reached."))?,
            skew: register(
                r,
                Gauge::new(
                    "orthrus_store_clock_skew_seconds",
                    "How far the clock of the shared store is ahead of this node's.",
                ),
            )?,
            records: register(
                r,
                IntGauge::new(
                    "orthrus_store_records_version",
                    "The version that this node writes records as: the newest that all nodes read, 0 until it heard of them.",
                ),
            )?,
            nodes: gauges(r, "orthrus_cluster_nodes", "Nodes that are alive, by state.", &["state"])?,
            conflict: register(
                r,
                IntGauge::new("orthrus_cluster_name_conflict", "1 while another node has this node's cluster.node_id."),
            )?,
        })
    }

    /// Takes over what the store has counted.
    pub fn show(&self, stats: &Stats, nodes: &[Member]) {
        let advance =
            |metric: &IntCounter, counter: &Counter| metric.inc_by(counter.get().saturating_sub(metric.get()));
        advance(&self.round_trips, &stats.round_trips);
        for (event, counter) in [
            ("conflict", &stats.conflicts),
            ("error", &stats.errors),
            ("tampered", &stats.tampered),
            ("other_version", &stats.other_version),
            ("failover", &stats.failovers),
            ("reasserted", &stats.reasserted),
            ("diverged", &stats.diverged),
            ("unacknowledged", &stats.unacknowledged),
            ("alone", &stats.alone),
        ] {
            advance(&self.events.with_label_values(&[event]), counter);
        }
        self.lost.set(stats.lost.load(Ordering::Relaxed).into());
        self.records.set(stats.records.load(Ordering::Relaxed).into());
        self.conflict.set(stats.conflict.load(Ordering::Relaxed).into());
        #[allow(clippy::cast_precision_loss, reason = "a difference of clocks in microseconds")]
        self.skew.set(stats.skew.load(Ordering::Relaxed) as f64 / 1_000_000.0);
        let mut states: BTreeMap<&str, i64> = BTreeMap::new();
        for node in nodes {
            // Its own words, which came sealed under the cluster's key, and are one of a few.
            *states.entry(&node.says.state).or_default() += 1;
        }
        self.nodes.reset();
        for (state, count) in states {
            self.nodes.with_label_values(&[state]).set(count);
        }
    }
}
