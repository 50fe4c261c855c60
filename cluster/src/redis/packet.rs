//! Packets that nodes share: those that answer a challenge, which serves once, so that a repeat gets the same reply at another node;
//! and all of them where a first factor must not be asked twice for one packet (`share = "all"`).

use super::Shared;
use super::link::{Link, odd};
use super::scripts::REPLACE;
use crate::PacketSeen;
use crate::keys::{PACKET_LIVES, REPLY_LIVES};
use crate::sealed::Header;
use gateway_core::attempt::record::{Owner, PacketDigest};
use gateway_core::time::Timestamp;
use redis::{Pipeline, RedisError, Value};
use serde::{Deserialize, Serialize};
use std::time::Duration;

#[derive(Serialize, Deserialize)]
enum Body {
    Pending(Owner),
    Replied(Vec<u8>),
}

impl Shared {
    /// Takes a packet for this node, unless another has it or had it.
    pub(super) async fn packet(&self, link: &mut Link, digest: PacketDigest) -> Result<PacketSeen, RedisError> {
        let key = self.keys.packet(&digest.0);
        let ours = self.seal_packet(&key, &Body::Pending(self.owner.clone()))?;
        let mut known = Vec::new();
        // At most one dead owner after another.
        for _ in 0..3 {
            let there = replace(link, &key, &known, &ours, PACKET_LIVES).await?;
            if there == ours {
                return Ok(PacketSeen::New);
            }
            let body = match self.sealer.open(&key, &there) {
                Ok((_, octets)) => postcard::from_bytes(&octets).ok(),
                Err(unopened) => {
                    let _ = self.count(unopened);
                    None
                }
            };
            match body {
                Some(Body::Replied(reply)) => return Ok(PacketSeen::Replied(reply)),
                Some(Body::Pending(owner)) if !self.members.is_dead(&owner) => return Ok(PacketSeen::Pending),
                Some(Body::Pending(_)) => known = there,
                // It cannot be believed: whoever may have it answers, or nobody.
                None => return Ok(PacketSeen::Pending),
            }
        }
        Ok(PacketSeen::Pending)
    }

    /// What became of a packet that this node took; `None`: nothing, and it may come again.
    pub(super) async fn packet_ended(
        &self,
        link: &mut Link,
        digest: PacketDigest,
        reply: Option<&[u8]>,
    ) -> Result<(), RedisError> {
        let key = self.keys.packet(&digest.0);
        // A node that seemed to be dead may have lost the packet to another, which may have answered it.
        let mut pipeline = Pipeline::new();
        pipeline.add_command(redis::cmd("GET").arg(&key).to_owned());
        let found = link.run(&key, pipeline).await?.into_iter().next().unwrap_or_default().extract_error()?;
        let Value::BulkString(there) = found else { return Ok(()) };
        let body = self.sealer.open(&key, &there).ok().and_then(|(_, octets)| postcard::from_bytes(&octets).ok());
        if !matches!(body, Some(Body::Pending(owner)) if owner == self.owner) {
            return Ok(());
        }
        let value = match reply {
            Some(reply) => self.seal_packet(&key, &Body::Replied(reply.to_vec()))?,
            None => Vec::new(),
        };
        replace(link, &key, &there, &value, REPLY_LIVES).await.map(drop)
    }

    fn seal_packet(&self, key: &str, body: &Body) -> Result<Vec<u8>, RedisError> {
        let octets = postcard::to_allocvec(body).map_err(|_| odd("a packet that cannot be written"))?;
        let header = Header { serial: 0, epoch: 0, expires: Timestamp::default() };
        self.sealer.seal(key, header, &octets).map_err(|_| odd("a packet that cannot be sealed"))
    }
}

async fn replace(link: &mut Link, key: &str, known: &[u8], new: &[u8], lives: Duration) -> Result<Vec<u8>, RedisError> {
    let mut call = REPLACE.call(false, &[key]);
    call.arg(known).arg(new).arg(lives.as_millis().to_string());
    let mut pipeline = Pipeline::new();
    pipeline.add_command(call);
    match link.run(key, pipeline).await?.into_iter().next().unwrap_or_default().extract_error()? {
        Value::BulkString(there) => Ok(there),
        _ => Err(odd("no value")),
    }
}
