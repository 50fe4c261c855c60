//! Orders that lock and unlock users, which all nodes follow, as reports: the newest about each user counts.

use super::Shared;
use super::link::{Link, odd};
use super::reports;
use crate::keys::hex;
use crate::locks::{HeardLocks, TellingLocks};
use gateway_core::limit::locks::Lock;
use redis::RedisError;
use std::time::Duration;

/// Orders that are asked for at a time.
const MOST_HEARD: usize = 256;

/// Orders that the store keeps: more than there can be locked users.
const MOST_KEPT: usize = 40_000;

/// Time for which the store keeps orders after the last one. A lock holds until somebody lifts it: a node that comes years later must
/// hear of it.
const LIVES: Duration = Duration::from_secs(10 * 365 * 24 * 3600);

impl Shared {
    /// Tells and hears.
    pub(super) async fn share_locks(&self, link: &mut Link, telling: &TellingLocks) -> Result<HeardLocks, RedisError> {
        let written = |order: &Lock| {
            let octets = order.encode().map_err(|_| odd("a lock that cannot be written"))?;
            Ok(reports::Report {
                field: hex(&self.keys.name(&order.user).digest),
                serial: order.at.as_micros(),
                octets,
            })
        };
        let telling = reports::Telling {
            keys: self.keys.locks(),
            reports: telling.orders.iter().map(written).collect::<Result<_, RedisError>>()?,
            since: &telling.since,
            lives: LIVES,
            most_kept: MOST_KEPT,
            most_heard: MOST_HEARD,
        };
        let reports::Heard { reports, since, more, life } = self.share(link, telling).await?;
        let orders = reports.into_iter().filter_map(|(_, _, octets)| self.decoded(Lock::decode(&octets))).collect();
        Ok(HeardLocks { orders, since, more, life })
    }
}
