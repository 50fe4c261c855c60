//! What a node says of itself in the store: signs of life and certificates.

use super::link::{Link, odd};
use super::{Shared, clock};
use crate::certificates::Certificate;
use crate::sealed::{Header, OLDEST};
use gateway_core::time::Timestamp;
use redis::{Pipeline, RedisError, Value, cmd};
use std::sync::atomic::Ordering;

/// Certificates that are listed at most; a cluster has a few per node.
const MOST_CERTIFICATES: usize = 4_096;

impl Shared {
    /// Gives a sign of life, and hears who else did.
    pub(super) async fn beat(&self, link: &mut Link) -> Result<(), RedisError> {
        let key = self.keys.nodes();
        let mut call = super::scripts::BEAT.call(false, &[&key]);
        let value = self.members.value(&self.sealer, &key, self.skew());
        call.arg(self.members.field()).arg(value).arg(self.settings.dead_after.as_millis().to_string());
        let mut pipeline = Pipeline::new();
        pipeline.add_command(call);
        self.stats.round_trips.inc();
        let asked = clock();
        let answer = link.run(&key, pipeline).await?.into_iter().next().unwrap_or_default();
        type Answer = (u64, u64, Vec<Vec<u8>>);
        let (seconds, micros, flat): Answer = redis::from_redis_value(answer.extract_error()?)?;
        let time = Timestamp::from_micros(seconds.saturating_mul(1_000_000).saturating_add(micros));
        self.learn_time(time, asked, clock());
        let mut live = Vec::new();
        let mut flat = flat.into_iter();
        while let (Some(field), Some(value)) = (flat.next(), flat.next()) {
            live.push((String::from_utf8_lossy(&field).into_owned(), value));
        }
        let (strangers, conflict) = self.members.heard(&self.sealer, &key, live);
        self.stats.records.store(self.members.records(), Ordering::Relaxed);
        for _ in 0..strangers {
            self.stats.tampered.inc();
        }
        if self.stats.conflict.swap(conflict, Ordering::Relaxed) != conflict && conflict {
            tracing::error!(
                node = &*self.owner.node,
                "another node has this name and started before: this one is not ready. \
                Give each node a cluster.node_id of its own"
            );
        }
        Ok(())
    }

    pub(super) async fn register(&self, link: &mut Link, certificate: &Certificate) -> Result<(), RedisError> {
        let key = self.keys.certificates();
        let octets = postcard::to_allocvec(certificate).map_err(|_| odd("a certificate that cannot be written"))?;
        let header = Header { serial: 0, epoch: 0, expires: certificate.not_after };
        let name = format!("{key}/{}", certificate.thumbprint);
        let value =
            self.sealer.seal(OLDEST, &name, header, &octets).map_err(|_| odd("a certificate that is too long"))?;
        let mut pipeline = Pipeline::new();
        pipeline.add_command(cmd("HSET").arg(&key).arg(&certificate.thumbprint).arg(value).to_owned());
        link.run(&key, pipeline).await?.into_iter().next().unwrap_or_default().extract_error().map(drop)
    }

    pub(super) async fn certificates(&self, link: &mut Link) -> Result<Vec<Certificate>, RedisError> {
        let key = self.keys.certificates();
        let mut pipeline = Pipeline::new();
        pipeline.add_command(cmd("HGETALL").arg(&key).to_owned());
        let answer: Value = link.run(&key, pipeline).await?.into_iter().next().unwrap_or_default().extract_error()?;
        let all: Vec<(String, Vec<u8>)> = redis::from_redis_value(answer)?;
        let mut certificates = Vec::new();
        for (thumbprint, value) in all.into_iter().take(MOST_CERTIFICATES) {
            match self.sealer.open(&format!("{key}/{thumbprint}"), &value) {
                Ok((_, octets)) => certificates.extend(postcard::from_bytes::<Certificate>(&octets).ok()),
                Err(unopened) => drop(self.count(unopened)),
            }
        }
        certificates.sort_by(|a, b| (&a.node, &a.thumbprint).cmp(&(&b.node, &b.thumbprint)));
        Ok(certificates)
    }
}
