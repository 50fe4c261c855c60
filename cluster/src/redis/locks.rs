//! Orders that lock and unlock users, which all nodes follow. They lie as reports of sessions do: the newest about each user counts.

use super::Shared;
use super::link::{Link, odd};
use super::packet::is_unknown;
use super::scripts::{REPORT, REPORTS};
use crate::locks::{HeardLocks, TellingLocks};
use crate::sealed::Header;
use crate::sessions::Since;
use gateway_core::limit::locks::{Lock, UNLOCKED_IS_KNOWN};
use gateway_core::time::Timestamp;
use redis::{Pipeline, RedisError, Value};

/// Orders that are asked for at a time.
const MOST_HEARD: usize = 256;

/// Orders that the store keeps: more than there can be locked users.
const MOST_KEPT: usize = 40_000;

impl Shared {
    /// Tells and hears.
    pub(super) async fn share_locks(&self, link: &mut Link, telling: &TellingLocks) -> Result<HeardLocks, RedisError> {
        let [key, _] = &self.keys.locks();
        let mut answers = told(link, key, self.orders(telling, true)?).await?;
        if answers.iter().any(|answer| answer.as_ref().is_err_and(is_unknown)) {
            // What was taken already is only known already.
            self.stats.round_trips.inc();
            answers = told(link, key, self.orders(telling, false)?).await?;
        }
        let heard = answers.pop().ok_or(odd("no answer"))??;
        let (life, upto, count, flat): (String, String, usize, Vec<Vec<u8>>) = redis::from_redis_value(heard)?;
        let mut orders = Vec::new();
        for (order, answer) in telling.orders.iter().zip(answers) {
            // A newer one is known.
            if let Value::BulkString(known) = answer? {
                orders.extend(self.open_order(key, &self.field(order), &known));
            }
        }
        let mut flat = flat.into_iter();
        while let (Some(field), Some(value)) = (flat.next(), flat.next()) {
            orders.extend(self.open_order(key, &String::from_utf8_lossy(&field), &value));
        }
        // A number, or the next question would be an error.
        let upto = upto.parse::<f64>().ok().filter(|at| at.is_finite()).map_or(Since::default(), |_| Since(upto));
        Ok(HeardLocks { orders, since: upto, more: count >= MOST_HEARD, life })
    }

    /// What the store calls the user.
    fn field(&self, order: &Lock) -> String {
        crate::keys::hex(&self.keys.name(&order.user).digest)
    }

    fn orders(&self, telling: &TellingLocks, by_digest: bool) -> Result<Pipeline, RedisError> {
        let [key, changes] = &self.keys.locks();
        let lives = UNLOCKED_IS_KNOWN.as_millis().to_string();
        let mut pipeline = Pipeline::with_capacity(telling.orders.len() + 1);
        for order in &telling.orders {
            let (field, serial) = (self.field(order), order.at.as_micros());
            let octets = order.encode().map_err(|_| odd("a lock that cannot be written"))?;
            let header = Header { serial, epoch: 0, expires: Timestamp::default() };
            let value = self
                .sealer
                .seal(self.members.records(), &format!("{key}/{field}"), header, &octets)
                .map_err(|_| odd("a lock that cannot be sealed"))?;
            let mut call = REPORT.call(by_digest, &[key, changes]);
            call.arg(field).arg(serial).arg(value).arg(&lives).arg(MOST_KEPT);
            pipeline.add_command(call);
        }
        let mut call = REPORTS.call(by_digest, &[key, changes]);
        call.arg(&telling.since.0).arg(MOST_HEARD);
        pipeline.add_command(call);
        Ok(pipeline)
    }

    /// What cannot be believed is counted, and passed over.
    fn open_order(&self, key: &str, field: &str, value: &[u8]) -> Option<Lock> {
        let octets = match self.sealer.open(&format!("{key}/{field}"), value) {
            Ok((_, octets)) => octets,
            Err(unopened) => {
                let _ = self.count(unopened);
                return None;
            }
        };
        let order = Lock::decode(&octets);
        if order.is_err() {
            // A newer release may say more.
            self.stats.other_version.inc();
        }
        order.ok()
    }
}

async fn told(link: &mut Link, key: &str, pipeline: Pipeline) -> Result<Vec<Result<Value, RedisError>>, RedisError> {
    Ok(link.run(key, pipeline).await?.into_iter().map(Value::extract_error).collect())
}
