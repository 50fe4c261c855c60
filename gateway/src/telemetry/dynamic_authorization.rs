//! The metrics of Disconnect and CoA (RFC 5176).

use super::metrics::{Catalogue, counters};
use prometheus::IntCounterVec;

/// What is counted of orders to NASes.
pub struct DynamicAuthorizationMeters {
    /// Orders, by client, order and outcome.
    pub requests: IntCounterVec,
    /// Requests that were sent again, by client.
    pub resent: IntCounterVec,
}

impl DynamicAuthorizationMeters {
    pub(super) fn new(r: &mut Catalogue) -> prometheus::Result<Self> {
        Ok(Self {
            requests: counters(
                r,
                "orthrus_dynamic_authorization_total",
                "Sessions that a NAS was told to end (order disconnect) or change (coa), by outcome: ack, nak, no_answer, not_sent.",
                &["client", "order", "outcome"],
            )?,
            resent: counters(
                r,
                "orthrus_dynamic_authorization_resent_total",
                "Disconnect- and CoA-Requests that were sent again, because the NAS had not answered.",
                &["client"],
            )?,
        })
    }
}
