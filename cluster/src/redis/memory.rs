//! Since when the memory of used codes is complete, as the store itself remembers it: one value for each group of users.
//!
//! Each exchange of records names the value that the node knows, so that a store that was wiped or has failed over is noticed
//! in the very step that would otherwise trust it. The value names the primary it holds for: where another one answers, writes
//! may have been lost with the old one, and codes of time steps that had begun by then are refused (invariant A5). Counters of
//! HOTP tokens outlive that: they were acknowledged by a replica, and the node that took the code has them in its journal.

use super::Shared;
use super::link::{Link, odd};
use super::scripts::REPLACE;
use crate::sealed::{Header, OLDEST};
use gateway_core::time::Timestamp;
use redis::{Pipeline, RedisError, Value, cmd};
use serde::{Deserialize, Serialize};

/// What a group remembers.
#[derive(Debug)]
pub(crate) struct Memory {
    /// The value as it stands in the store.
    pub(crate) value: Vec<u8>,
    pub(crate) body: Body,
}

#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Body {
    /// Since when it is complete.
    pub(crate) since: Timestamp,
    /// Since when counters are.
    pub(crate) counters_since: Timestamp,
    /// The replication id of the primary.
    pub(crate) primary: String,
}

/// Why there is none.
#[derive(Debug)]
pub(crate) enum Trouble {
    /// The store did not answer, or with an error.
    Link(RedisError),
    /// What stands there is not ours.
    NotOurs,
}

impl From<RedisError> for Trouble {
    fn from(error: RedisError) -> Self {
        Self::Link(error)
    }
}

/// The memory of `group` as it is now, made anew where there is none or another primary answers. `true`: it was.
pub(crate) async fn refresh(shared: &Shared, link: &mut Link, group: u8) -> Result<(Memory, bool), Trouble> {
    let key = shared.keys.memory(group);
    let mut pipeline = Pipeline::new();
    pipeline.add_command(cmd("GET").arg(&key).to_owned());
    pipeline.add_command(cmd("INFO").arg("replication").to_owned());
    pipeline.add_command(cmd("TIME").to_owned());
    shared.stats.round_trips.inc();
    let answers = link.run(&key, pipeline).await?;
    let [value, info, time] = <[Value; 3]>::try_from(answers).map_err(|_| odd("answers are missing"))?;
    let primary = primary(info)?;
    let now = time_of(time)?;
    let found = match value.extract_error()? {
        Value::Nil => None,
        Value::BulkString(value) => Some(value),
        _ => return Err(Trouble::NotOurs),
    };
    let old = found.as_ref().map(|value| open(shared, &key, value)).transpose()?;
    let body = match old {
        Some(body) if body.primary == primary => {
            return Ok((Memory { value: found.unwrap_or_default(), body }, false));
        }
        Some(body) => Body { since: now, primary, ..body },
        None => {
            // The first start of all: what this node used while it was alone, its journal knows.
            let counters_since = shared.first_start().unwrap_or(now);
            Body { since: now, counters_since, primary }
        }
    };
    let octets = postcard::to_allocvec(&body).map_err(|_| Trouble::NotOurs)?;
    let header = Header { serial: 0, epoch: 0, expires: Timestamp::default() };
    let value = shared.sealer.seal(OLDEST, &key, header, &octets).map_err(|_| Trouble::NotOurs)?;
    let mut call = REPLACE.call(false, &[&key]);
    call.arg(found.as_deref().unwrap_or_default()).arg(&value).arg(0);
    let mut pipeline = Pipeline::new();
    pipeline.add_command(call);
    shared.stats.round_trips.inc();
    let answer = link.run(&key, pipeline).await?.into_iter().next().ok_or(odd("no answer"))?;
    let Value::BulkString(now_there) = answer.extract_error()? else { return Err(Trouble::NotOurs) };
    // Another node may have been faster.
    let body = if now_there == value { body } else { open(shared, &key, &now_there)? };
    Ok((Memory { value: now_there, body }, true))
}

fn open(shared: &Shared, key: &str, value: &[u8]) -> Result<Body, Trouble> {
    let opened = shared.sealer.open(key, value).map_err(|unopened| {
        shared.count(unopened);
        Trouble::NotOurs
    })?;
    postcard::from_bytes(&opened.1).map_err(|_| {
        shared.stats.tampered.inc();
        Trouble::NotOurs
    })
}

/// The replication id that `INFO replication` names.
pub(crate) fn primary(info: Value) -> Result<String, RedisError> {
    let text: String = redis::from_redis_value(info.extract_error()?)?;
    let id = text.lines().find_map(|line| line.strip_prefix("master_replid:"));
    Ok(id.ok_or(odd("no replication id"))?.trim().chars().take(64).collect())
}

/// The answer to `TIME`.
pub(crate) fn time_of(value: Value) -> Result<Timestamp, RedisError> {
    let (seconds, micros): (u64, u64) = redis::from_redis_value(value.extract_error()?)?;
    Ok(Timestamp::from_micros(seconds.saturating_mul(1_000_000).saturating_add(micros)))
}
