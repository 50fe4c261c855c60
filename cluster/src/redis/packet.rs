//! Packets that nodes share: those that answer a challenge, which serves once, so that a repeat gets the same reply at another node;
//! and all of them where a first factor must not be asked twice for one packet (`share = "all"`).

use super::Shared;
use super::link::{Link, odd};
use super::scripts::REPLACE;
use crate::keys::{PACKET_LIVES, REPLY_LIVES};
use crate::sealed::Header;
use crate::{PacketSeen, Ticket};
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
        let mut there = take(link, &key, &ours).await?;
        // At most one dead owner after another.
        for _ in 0..3 {
            let Some(found) = there else { return Ok(PacketSeen::New(Ticket(ours))) };
            let body = match self.sealer.open(&key, &found) {
                Ok((_, octets)) => postcard::from_bytes(&octets).ok(),
                Err(unopened) => {
                    let _ = self.count(unopened);
                    None
                }
            };
            match body {
                Some(Body::Replied(reply)) => return Ok(PacketSeen::Replied(reply)),
                Some(Body::Pending(owner)) if !self.members.is_dead(&owner) => return Ok(PacketSeen::Pending),
                Some(Body::Pending(_)) => {
                    let now = replace(link, &key, &found, &ours, PACKET_LIVES).await?;
                    there = (now != ours).then_some(now);
                }
                // It cannot be believed: whoever may have it answers, or nobody.
                None => return Ok(PacketSeen::Pending),
            }
        }
        Ok(if there.is_none() { PacketSeen::New(Ticket(ours)) } else { PacketSeen::Pending })
    }

    /// What became of a packet that this node took; `None`: nothing, and it may come again.
    pub(super) async fn packet_ended(
        &self,
        link: &mut Link,
        digest: PacketDigest,
        ticket: &Ticket,
        reply: Option<&[u8]>,
    ) -> Result<(), RedisError> {
        let key = self.keys.packet(&digest.0);
        let value = match reply {
            Some(reply) => self.seal_packet(&key, &Body::Replied(reply.to_vec()))?,
            None => Vec::new(),
        };
        // A node that seemed to be dead may have lost the packet to another, which may have answered it.
        replace(link, &key, &ticket.0, &value, REPLY_LIVES).await.map(drop)
    }

    fn seal_packet(&self, key: &str, body: &Body) -> Result<Vec<u8>, RedisError> {
        let octets = postcard::to_allocvec(body).map_err(|_| odd("a packet that cannot be written"))?;
        let header = Header { serial: 0, epoch: 0, expires: Timestamp::default() };
        self.sealer.seal(key, header, &octets).map_err(|_| odd("a packet that cannot be sealed"))
    }
}

/// Puts `ours` there if there is nothing; what there is otherwise.
async fn take(link: &mut Link, key: &str, ours: &[u8]) -> Result<Option<Vec<u8>>, RedisError> {
    let mut call = redis::cmd("SET");
    call.arg(key).arg(ours).arg("NX").arg("GET").arg("PX").arg(PACKET_LIVES.as_millis().to_string());
    match run(link, key, call).await? {
        Value::Nil => Ok(None),
        Value::BulkString(there) => Ok(Some(there)),
        _ => Err(odd("no value")),
    }
}

async fn replace(link: &mut Link, key: &str, known: &[u8], new: &[u8], lives: Duration) -> Result<Vec<u8>, RedisError> {
    let call = |by_digest| {
        let mut call = REPLACE.call(by_digest, &[key]);
        call.arg(known).arg(new).arg(lives.as_millis().to_string());
        call
    };
    let answer = match run(link, key, call(true)).await {
        Err(error) if error.kind() == redis::ErrorKind::Server(redis::ServerErrorKind::NoScript) => {
            run(link, key, call(false)).await?
        }
        answer => answer?,
    };
    match answer {
        Value::BulkString(there) => Ok(there),
        _ => Err(odd("no value")),
    }
}

async fn run(link: &mut Link, key: &str, call: redis::Cmd) -> Result<Value, RedisError> {
    let mut pipeline = Pipeline::new();
    pipeline.add_command(call);
    link.run(key, pipeline).await?.into_iter().next().unwrap_or_default().extract_error()
}
