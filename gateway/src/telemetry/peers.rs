//! The metrics of connections between nodes.

use super::metrics::{Catalogue, counters, gauges, register};
use cluster::peers::Peers;
use prometheus::{GaugeVec, IntCounterVec, IntGaugeVec, Opts};

/// What is counted of peers.
pub struct PeerMetrics {
    up: IntGaugeVec,
    round_trip: GaugeVec,
    questions: IntGaugeVec,
    refused: IntCounterVec,
    forwarded: IntCounterVec,
    served: IntCounterVec,
}

impl PeerMetrics {
    pub(super) fn new(r: &mut Catalogue) -> prometheus::Result<Self> {
        Ok(Self {
            up: gauges(
                r,
                "orthrus_peer_up",
                "1 while there is a connection to this node, 0 while it is alive in the store and there is none.",
                &["node"],
            )?,
            round_trip: register(
                r,
                GaugeVec::new(
                    Opts::new(
                        "orthrus_peer_round_trip_seconds",
                        "How long this node last took to say that it is there.",
                    ),
                    &["node"],
                ),
            )?,
            questions: gauges(
                r,
                "orthrus_peer_questions",
                "Packets that were sent to this node and wait for what becomes of them.",
                &["node"],
            )?,
            refused: counters(
                r,
                "orthrus_peer_refused_total",
                "Connections between nodes that came to nothing, in either direction.",
                &["reason"],
            )?,
            forwarded: counters(
                r,
                "orthrus_peer_forwarded_total",
                "Packets sent to another node that can go on with them; result is reply, silence, or the label of a reason.",
                &["result"],
            )?,
            served: counters(
                r,
                "orthrus_peer_messages_total",
                "What other nodes asked of this one; result is taken (a packet), busy, or unknown (a message of a later release).",
                &["result"],
            )?,
        })
    }

    /// A packet was sent to another node.
    pub fn forwarded(&self, result: &str) {
        self.forwarded.with_label_values(&[result]).inc();
    }

    /// Takes over what `peers` count. Labels are names of nodes that are alive.
    pub fn show(&self, peers: &Peers, limit_hits: &IntCounterVec) {
        self.up.reset();
        self.round_trip.reset();
        self.questions.reset();
        for peer in peers.list() {
            self.up.with_label_values(&[&peer.node]).set(peer.up.into());
            let questions = i64::try_from(peer.questions).unwrap_or(i64::MAX);
            self.questions.with_label_values(&[&peer.node]).set(questions);
            if let Some(took) = peer.round_trip {
                self.round_trip.with_label_values(&[&peer.node]).set(took.as_secs_f64());
            }
        }
        let advance = |counters: &IntCounterVec, label: &str, to: u64| {
            let counter = counters.with_label_values(&[label]);
            counter.inc_by(to.saturating_sub(counter.get()));
        };
        let stats = peers.stats();
        for (reason, count) in stats.refused() {
            advance(&self.refused, reason.label(), count);
            if reason == gateway_core::reason::Reason::PeerTooMany {
                advance(limit_hits, "peers.connections", count);
            }
        }
        advance(&self.served, "taken", stats.served.get());
        advance(&self.served, "busy", stats.busy.get());
        advance(&self.served, "unknown", stats.unknown.get());
        if stats.busy.get() > 0 {
            advance(limit_hits, "peers.in_flight", stats.busy.get());
        }
    }
}
