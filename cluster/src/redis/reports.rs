//! Reports that nodes put down for each other: the newest of each thing under a field of its own, and in which order they came. A node puts
//! down what it has to tell and reads what came since it read last, in one round trip.

use super::Shared;
use super::link::{Link, odd};
use super::packet::is_unknown;
use super::scripts::{REPORT, REPORTS};
use crate::sealed::Header;
use crate::sessions::Since;
use gateway_core::time::Timestamp;
use redis::{Pipeline, RedisError, Value};
use std::time::Duration;

/// One report to be put down.
pub(super) struct Report {
    /// The field of the thing that it is about.
    pub(super) field: String,
    /// The order of reports of one thing: the highest counts.
    pub(super) serial: u64,
    /// The report, written.
    pub(super) octets: Vec<u8>,
}

/// What is told and asked.
pub(super) struct Telling<'a> {
    /// The hash of the reports, and the sorted set of when each came.
    pub(super) keys: [String; 2],
    /// The reports.
    pub(super) reports: Vec<Report>,
    /// Place up to which was read before.
    pub(super) since: &'a Since,
    /// Time for which reports are kept.
    pub(super) lives: Duration,
    /// Number of reports that are kept; the oldest go first.
    pub(super) most_kept: usize,
    /// Number of reports that are read at a time.
    pub(super) most_heard: usize,
}

/// What the store has.
pub(super) struct Heard {
    /// Field, serial and octets of each report that could be opened, newer ones of what was told first.
    pub(super) reports: Vec<(String, u64, Vec<u8>)>,
    /// Place up to which this was read.
    pub(super) since: Since,
    /// `true` if there are more.
    pub(super) more: bool,
    /// Another one than before: the store was emptied meanwhile.
    pub(super) life: String,
}

impl Shared {
    /// Tells and hears.
    pub(super) async fn share(&self, link: &mut Link, telling: Telling<'_>) -> Result<Heard, RedisError> {
        let [key, _] = &telling.keys;
        let mut answers = told(link, key, self.pipeline(&telling, true)?).await?;
        if answers.iter().any(|answer| answer.as_ref().is_err_and(is_unknown)) {
            // What was taken already is only known already.
            self.stats.round_trips.inc();
            answers = told(link, key, self.pipeline(&telling, false)?).await?;
        }
        let heard = answers.pop().ok_or(odd("no answer"))??;
        let (life, upto, count, flat): (String, String, usize, Vec<Vec<u8>>) = redis::from_redis_value(heard)?;
        let mut reports = Vec::new();
        for (report, answer) in telling.reports.iter().zip(answers) {
            if let Value::BulkString(newer) = answer? {
                reports.extend(self.open_report(key, report.field.clone(), &newer));
            }
        }
        let mut flat = flat.into_iter();
        while let (Some(field), Some(value)) = (flat.next(), flat.next()) {
            reports.extend(self.open_report(key, String::from_utf8_lossy(&field).into_owned(), &value));
        }
        // A number, or the next question would be an error.
        let since = upto.parse::<f64>().ok().filter(|at| at.is_finite()).map_or(Since::default(), |_| Since(upto));
        Ok(Heard { reports, since, more: count >= telling.most_heard, life })
    }

    fn pipeline(&self, telling: &Telling<'_>, by_digest: bool) -> Result<Pipeline, RedisError> {
        let [key, changes] = &telling.keys;
        let mut pipeline = Pipeline::with_capacity(telling.reports.len() + 1);
        for Report { field, serial, octets } in &telling.reports {
            let header = Header { serial: *serial, epoch: 0, expires: Timestamp::default() };
            let value = self
                .sealer
                .seal(self.members.records(), &format!("{key}/{field}"), header, octets)
                .map_err(|_| odd("a report that cannot be sealed"))?;
            let mut call = REPORT.call(by_digest, &[key, changes]);
            call.arg(field).arg(serial).arg(value).arg(telling.lives.as_millis().to_string()).arg(telling.most_kept);
            pipeline.add_command(call);
        }
        let mut call = REPORTS.call(by_digest, &[key, changes]);
        call.arg(&telling.since.0).arg(telling.most_heard);
        pipeline.add_command(call);
        Ok(pipeline)
    }

    /// Opens a report; one that cannot be believed is counted and passed over.
    fn open_report(&self, key: &str, field: String, value: &[u8]) -> Option<(String, u64, Vec<u8>)> {
        match self.sealer.open(&format!("{key}/{field}"), value) {
            Ok((header, octets)) => Some((field, header.serial, octets)),
            Err(unopened) => {
                let _ = self.count(unopened);
                None
            }
        }
    }

    /// Returns what a report says. A newer release may say more: then its nodes alone know of it.
    pub(super) fn decoded<T, E>(&self, decoded: Result<T, E>) -> Option<T> {
        if decoded.is_err() {
            self.stats.other_version.inc();
        }
        decoded.ok()
    }
}

async fn told(link: &mut Link, key: &str, pipeline: Pipeline) -> Result<Vec<Result<Value, RedisError>>, RedisError> {
    Ok(link.run(key, pipeline).await?.into_iter().map(Value::extract_error).collect())
}
