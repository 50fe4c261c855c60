//! Wrong passwords, which all nodes count, as reports: each node puts down what it counted, in batches under a name of their own.

use super::Shared;
use super::link::{Link, odd};
use super::reports;
use crate::wrong_passwords::{HeardGuesses, TellingGuesses};
use gateway_core::limit::wrong_passwords::Batch;
use redis::RedisError;

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
        let written = |batch: &Batch| {
            let octets = batch.encode().map_err(|_| odd("wrong passwords that cannot be written"))?;
            let field = format!("{:016x}-{}", self.owner.incarnation, batch.number);
            Ok(reports::Report { field, serial: batch.number, octets })
        };
        let telling = reports::Telling {
            keys: self.keys.wrong_passwords(),
            reports: telling.batches.iter().map(written).collect::<Result<_, RedisError>>()?,
            since: &telling.since,
            lives: telling.lives,
            most_kept: MOST_KEPT,
            most_heard: MOST_HEARD,
        };
        let reports::Heard { reports, since, more, life } = self.share(link, telling).await?;
        let batches = reports.into_iter().filter_map(|(field, number, octets)| {
            let from = field.split_once('-').and_then(|(life, _)| u64::from_str_radix(life, 16).ok())?;
            // What this node has told itself it knows.
            let others = from != self.owner.incarnation;
            Some((from, self.decoded(others.then(|| Batch::decode(&octets, number))?)?))
        });
        Ok(HeardGuesses { batches: batches.collect(), since, more, life })
    }
}
