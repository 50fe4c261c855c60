//! Sessions of accounting, which all nodes know, as reports: the newest of each session counts.

use super::Shared;
use super::link::{Link, odd};
use super::reports;
use crate::sessions::{Heard, Telling};
use gateway_core::accounting::report::Report;
use redis::RedisError;

/// Reports that are asked for at a time; each is as long as the packets that it comes of, some hundred octets as a rule.
const MOST_HEARD: usize = 512;

impl Shared {
    /// Tells and hears.
    pub(super) async fn share_sessions(&self, link: &mut Link, telling: &Telling) -> Result<Heard, RedisError> {
        let written = |report: &Report| {
            let octets = report.encode().map_err(|_| odd("a session that cannot be written"))?;
            Ok(reports::Report { field: self.keys.session(&report.key), serial: report.order, octets })
        };
        let telling = reports::Telling {
            keys: self.keys.sessions(),
            reports: telling.reports.iter().map(written).collect::<Result<_, RedisError>>()?,
            since: &telling.since,
            lives: telling.lives,
            most_kept: telling.most,
            most_heard: MOST_HEARD,
        };
        let reports::Heard { reports, since, more, life } = self.share(link, telling).await?;
        let reports = reports.into_iter();
        let reports = reports.filter_map(|(_, order, octets)| self.decoded(Report::decode(&octets, order))).collect();
        Ok(Heard { reports, since, more, life })
    }
}
