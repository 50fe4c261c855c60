//! Wrong passwords, which all nodes count: each node puts down what it counted, in batches, and reads what came since it read last, in
//! one round trip. Batches lie as reports of sessions do, under a name of their own each.

use super::Shared;
use super::link::{Link, odd};
use super::packet::is_unknown;
use super::scripts::{REPORT, REPORTS};
use crate::sealed::Header;
use crate::sessions::Since;
use crate::wrong_passwords::{HeardGuesses, TellingGuesses};
use gateway_core::limit::wrong_passwords::Batch;
use gateway_core::time::Timestamp;
use redis::{Pipeline, RedisError, Value};

/// Batches that are asked for at a time.
const MOST_HEARD: usize = 64;

/// Batches that the store keeps; the oldest go first.
const MOST_KEPT: usize = 4_096;

impl Shared {
    /// Tells and hears.
    pub(super) async fn share_guesses(
        &self,
        link: &mut Link,
        telling: &TellingGuesses,
    ) -> Result<HeardGuesses, RedisError> {
        let [key, _] = &self.keys.wrong_passwords();
        let mut answers = told(link, key, self.guesses(telling, true)?).await?;
        if answers.iter().any(|answer| answer.as_ref().is_err_and(is_unknown)) {
            // What was taken already is only known already.
            self.stats.round_trips.inc();
            answers = told(link, key, self.guesses(telling, false)?).await?;
        }
        let heard = answers.pop().ok_or(odd("no answer"))??;
        answers.into_iter().try_for_each(|answer| answer.map(drop))?;
        let (life, upto, count, flat): (String, String, usize, Vec<Vec<u8>>) = redis::from_redis_value(heard)?;
        let mut batches = Vec::new();
        let mut flat = flat.into_iter();
        while let (Some(field), Some(value)) = (flat.next(), flat.next()) {
            batches.extend(self.open_batch(key, &String::from_utf8_lossy(&field), &value));
        }
        // A number, or the next question would be an error.
        let upto = upto.parse::<f64>().ok().filter(|at| at.is_finite()).map_or(Since::default(), |_| Since(upto));
        Ok(HeardGuesses { batches, since: upto, more: count >= MOST_HEARD, life })
    }

    fn guesses(&self, telling: &TellingGuesses, by_digest: bool) -> Result<Pipeline, RedisError> {
        let [key, changes] = &self.keys.wrong_passwords();
        let mut pipeline = Pipeline::with_capacity(telling.batches.len() + 1);
        for batch in &telling.batches {
            let field = format!("{:016x}-{}", self.owner.incarnation, batch.number);
            let octets = batch.encode().map_err(|_| odd("wrong passwords that cannot be written"))?;
            let header = Header { serial: batch.number, epoch: 0, expires: Timestamp::default() };
            let value = self
                .sealer
                .seal(self.members.records(), &format!("{key}/{field}"), header, &octets)
                .map_err(|_| odd("wrong passwords that cannot be sealed"))?;
            let mut call = REPORT.call(by_digest, &[key, changes]);
            call.arg(field).arg(batch.number).arg(value).arg(telling.lives.as_millis().to_string()).arg(MOST_KEPT);
            pipeline.add_command(call);
        }
        let mut call = REPORTS.call(by_digest, &[key, changes]);
        call.arg(&telling.since.0).arg(MOST_HEARD);
        pipeline.add_command(call);
        Ok(pipeline)
    }

    /// What cannot be believed is counted, and passed over; what this node has told itself is passed over too.
    fn open_batch(&self, key: &str, field: &str, value: &[u8]) -> Option<(u64, Batch)> {
        let from = field.split_once('-').and_then(|(life, _)| u64::from_str_radix(life, 16).ok())?;
        if from == self.owner.incarnation {
            return None;
        }
        let (header, octets) = match self.sealer.open(&format!("{key}/{field}"), value) {
            Ok(opened) => opened,
            Err(unopened) => {
                let _ = self.count(unopened);
                return None;
            }
        };
        // A newer release may say more.
        let batch = Batch::decode(&octets, header.serial);
        if batch.is_err() {
            self.stats.other_version.inc();
        }
        Some((from, batch.ok()?))
    }
}

async fn told(link: &mut Link, key: &str, pipeline: Pipeline) -> Result<Vec<Result<Value, RedisError>>, RedisError> {
    Ok(link.run(key, pipeline).await?.into_iter().map(Value::extract_error).collect())
}
