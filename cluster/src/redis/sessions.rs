//! Sessions of accounting, which all nodes know: the newest report of each, and in which order they came. A node tells what it
//! heard of NASes and asks what came since it asked last, in one round trip.

use super::Shared;
use super::link::{Link, odd};
use super::packet::is_unknown;
use super::scripts::{REPORT, REPORTS};
use crate::sealed::Header;
use crate::sessions::{Heard, Since, Telling};
use gateway_core::accounting::report::Report;
use gateway_core::time::Timestamp;
use redis::{Pipeline, RedisError, Value};

/// Reports that are asked for at a time; each is as long as the packets that it comes of, some hundred octets as a rule.
const MOST_HEARD: usize = 512;

impl Shared {
    /// Tells and hears.
    pub(super) async fn share_sessions(&self, link: &mut Link, telling: &Telling) -> Result<Heard, RedisError> {
        let [key, _] = &self.keys.sessions();
        let mut answers = told(link, key, self.exchange(telling, true)?).await?;
        if answers.iter().any(|answer| answer.as_ref().is_err_and(is_unknown)) {
            // What was taken already is only known already.
            self.stats.round_trips.inc();
            answers = told(link, key, self.exchange(telling, false)?).await?;
        }
        let heard = answers.pop().ok_or(odd("no answer"))??;
        let (life, upto, count, flat): (String, String, usize, Vec<Vec<u8>>) = redis::from_redis_value(heard)?;
        let mut reports = Vec::new();
        for (report, answer) in telling.reports.iter().zip(answers) {
            if let Value::BulkString(known) = answer? {
                reports.extend(self.open_report(key, &self.keys.session(&report.key), &known));
            }
        }
        let mut flat = flat.into_iter();
        while let (Some(field), Some(value)) = (flat.next(), flat.next()) {
            reports.extend(self.open_report(key, &String::from_utf8_lossy(&field), &value));
        }
        // A number, or the next question would be an error.
        let upto = upto.parse::<f64>().ok().filter(|at| at.is_finite()).map_or(Since::default(), |_| Since(upto));
        Ok(Heard { reports, since: upto, more: count >= MOST_HEARD, life })
    }

    fn exchange(&self, telling: &Telling, by_digest: bool) -> Result<Pipeline, RedisError> {
        let [key, changes] = &self.keys.sessions();
        let mut pipeline = Pipeline::with_capacity(telling.reports.len() + 1);
        for report in &telling.reports {
            let field = self.keys.session(&report.key);
            let octets = report.encode().map_err(|_| odd("a session that cannot be written"))?;
            let header = Header { serial: report.order, epoch: 0, expires: Timestamp::default() };
            let name = format!("{key}/{field}");
            let value = self
                .sealer
                .seal(self.members.records(), &name, header, &octets)
                .map_err(|_| odd("a session that cannot be sealed"))?;
            let mut call = REPORT.call(by_digest, &[key, changes]);
            call.arg(field).arg(report.order).arg(value).arg(telling.lives.as_millis().to_string()).arg(telling.most);
            pipeline.add_command(call);
        }
        let mut call = REPORTS.call(by_digest, &[key, changes]);
        call.arg(&telling.since.0).arg(MOST_HEARD);
        pipeline.add_command(call);
        Ok(pipeline)
    }

    /// What cannot be believed is counted, and passed over.
    fn open_report(&self, key: &str, field: &str, value: &[u8]) -> Option<Report> {
        let (header, octets) = match self.sealer.open(&format!("{key}/{field}"), value) {
            Ok(opened) => opened,
            Err(unopened) => {
                let _ = self.count(unopened);
                return None;
            }
        };
        // A newer release may say more: then its nodes alone know of the session.
        let report = Report::decode(&octets, header.serial);
        if report.is_err() {
            self.stats.other_version.inc();
        }
        report.ok()
    }
}

async fn told(link: &mut Link, key: &str, pipeline: Pipeline) -> Result<Vec<Result<Value, RedisError>>, RedisError> {
    Ok(link.run(key, pipeline).await?.into_iter().map(Value::extract_error).collect())
}
