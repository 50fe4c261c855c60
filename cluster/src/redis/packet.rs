//! Packets that nodes share: those that answer a challenge, which serves once, so that a repeat gets the same reply at another node;
//! and all of them where a first factor must not be asked twice for one packet (`share = "all"`).
//!
//! One question about packets is under way at a time, and the next asks about all that came meanwhile. So nothing waits where there
//! is little to do, and where there is much, many packets cost one write and two wake-ups of threads.

use super::lane::Lane;
use super::link::{Link, odd};
use super::scripts::REPLACE;
use super::{Shared, settings::Mode};
use crate::keys::{PACKET_LIVES, REPLY_LIVES};
use crate::sealed::Header;
use crate::{PacketSeen, StoreError, Ticket};
use gateway_core::attempt::record::{Owner, PacketDigest};
use gateway_core::time::Timestamp;
use redis::{Cmd, ErrorKind, Pipeline, RedisError, ServerErrorKind, Value};
use serde::{Deserialize, Serialize};
use std::rc::Rc;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::sync::{mpsc, oneshot};

/// As many go together at most.
const MOST_TOGETHER: usize = 128;

/// What is wanted of a packet.
pub(super) enum PacketJob {
    /// Take it for this node.
    Take { digest: PacketDigest, done: oneshot::Sender<Result<PacketSeen, StoreError>> },
    /// Say what became of it; nobody waits.
    End(Ended),
    /// Say what a packet was answered with that could not be taken; nobody waits.
    Answer { digest: PacketDigest, reply: Arc<[u8]> },
}

/// What became of a packet that this node took.
pub(super) struct Ended {
    pub(super) ticket: Ticket,
    /// `None`: nothing, and it may come again.
    pub(super) reply: Option<Arc<[u8]>>,
}

#[derive(Serialize, Deserialize)]
enum Body {
    Pending(Owner),
    Replied(Vec<u8>),
}

/// A job that was put to the store.
enum Put {
    Take { ours: Ticket, done: oneshot::Sender<Result<PacketSeen, StoreError>> },
    End(Ended),
    Answer(Ticket),
}

impl Put {
    fn key(&self) -> &str {
        match self {
            Self::Take { ours, .. } => &ours.key,
            Self::Answer(ours) => &ours.key,
            Self::End(ended) => &ended.ticket.key,
        }
    }
}

impl Lane {
    /// Takes and ends packets for as long as there is a store.
    pub(super) async fn share_packets(self: Rc<Self>, mut jobs: mpsc::UnboundedReceiver<PacketJob>) {
        let mut batch = Vec::new();
        while jobs.recv_many(&mut batch, MOST_TOGETHER).await > 0 {
            self.put(batch.drain(..)).await;
        }
    }

    /// What cannot be asked is dropped, and whoever waits takes that for a lost store.
    async fn put(&self, batch: impl Iterator<Item = PacketJob>) {
        let shared = &self.shared;
        let Some(mut link) = self.link_until(Instant::now() + shared.settings.timeout).await else { return };
        let (mut puts, mut calls) = (Vec::new(), Vec::new());
        for job in batch {
            match shared.prepare(job) {
                Ok((put, call)) => {
                    puts.push(put);
                    calls.push(call);
                }
                Err(error) => tracing::error!(%error, "a packet cannot be shared"),
            }
        }
        let answers = match shared.settings.mode {
            // The keys lie on several servers.
            Mode::Cluster => {
                puts.iter().for_each(|_| shared.stats.round_trips.inc());
                let answers = puts.iter().zip(calls).map(|(put, call)| {
                    let mut link = link.clone();
                    async move { run(&mut link, put.key(), call).await }
                });
                futures_util::future::join_all(answers).await
            }
            _ => {
                let mut pipeline = Pipeline::with_capacity(calls.len());
                calls.into_iter().for_each(|call| {
                    pipeline.add_command(call);
                });
                shared.stats.round_trips.inc();
                match link.run("", pipeline).await {
                    Ok(answers) => answers.into_iter().map(Value::extract_error).collect(),
                    Err(error) => return self.failed(&error),
                }
            }
        };
        self.answered();
        for (put, answer) in puts.into_iter().zip(answers) {
            match (put, answer) {
                // Nearly always.
                (Put::Take { ours, done }, Ok(Value::Nil)) => drop(done.send(Ok(PacketSeen::New(ours)))),
                (Put::Answer(_), Ok(Value::Nil)) => {}
                (Put::End(ended), Ok(there)) if ended.reply.is_none() || !is_empty(&there) => {}
                (put, answer) => {
                    let (shared, link) = (shared.clone(), link.clone());
                    tokio::task::spawn_local(async move { shared.follow(link, put, answer).await });
                }
            }
        }
    }
}

impl Shared {
    /// Whether packets of this kind are shared now. `answers`: they answer a challenge.
    pub(super) fn shares(&self, answers: bool) -> bool {
        (answers || self.settings.share_packets) && !self.stats.lost.load(Ordering::Relaxed)
    }

    fn prepare(&self, job: PacketJob) -> Result<(Put, Cmd), RedisError> {
        match job {
            PacketJob::Take { digest, done } => {
                let key = self.keys.packet(&digest.0);
                let value = self.seal_packet(&key, &Body::Pending(self.owner.clone()))?;
                let call = first(&key, &value, PACKET_LIVES);
                Ok((Put::Take { ours: Ticket { key, value }, done }, call))
            }
            PacketJob::Answer { digest, reply } => {
                let key = self.keys.packet(&digest.0);
                let value = self.seal_packet(&key, &Body::Replied(reply.to_vec()))?;
                let call = first(&key, &value, REPLY_LIVES);
                Ok((Put::Answer(Ticket { key, value }), call))
            }
            PacketJob::End(ended) => {
                let call = self.ending(&ended, true)?;
                Ok((Put::End(ended), call))
            }
        }
    }

    /// Puts the reply in the place of the ticket. A node that seemed to be dead may have lost the packet to another, which may have
    /// answered it: then nothing happens.
    fn ending(&self, Ended { ticket, reply }: &Ended, by_digest: bool) -> Result<Cmd, RedisError> {
        let value = match reply {
            Some(reply) => self.seal_packet(&ticket.key, &Body::Replied(reply.to_vec()))?,
            None => Vec::new(),
        };
        Ok(replacing(&ticket.key, &ticket.value, &value, REPLY_LIVES, by_digest))
    }

    /// What is seldom: somebody has the packet or had it, or the server has forgotten the script.
    async fn follow(&self, mut link: Link, put: Put, answer: Result<Value, RedisError>) {
        match put {
            Put::Take { ours, done } => {
                let seen = match answer.and_then(value) {
                    Ok(there) => self.seen(&mut link, ours, there).await,
                    Err(error) => Err(error),
                };
                let _ = done.send(seen.map_err(|error| {
                    tracing::warn!(%error, "the store did not say who has a packet");
                    StoreError::Unavailable
                }));
            }
            Put::Answer(ours) => {
                if let Err(error) = self.answer(&mut link, &ours, answer).await {
                    tracing::warn!(%error, "the store did not take a reply: a repeat at another node may be decided anew");
                }
            }
            Put::End(ended) => {
                let answer = match answer {
                    Err(error) if is_unknown(&error) => match self.ending(&ended, false) {
                        Ok(call) => run(&mut link, &ended.ticket.key, call).await,
                        Err(error) => Err(error),
                    },
                    answer => answer,
                };
                let told = match (answer, ended.reply) {
                    // A fail-over has lost that this node had the packet.
                    (Ok(there), Some(reply)) if is_empty(&there) => {
                        self.answer_anew(&mut link, ended.ticket.key, &reply).await
                    }
                    (Ok(_), _) => Ok(()),
                    (Err(error), _) => Err(error),
                };
                if let Err(error) = told {
                    tracing::warn!(%error, "the store did not take a reply: a repeat at another node may stay unanswered");
                }
            }
        }
    }

    /// What a value says; `None`: it cannot be believed.
    fn body(&self, key: &str, value: &[u8]) -> Option<Body> {
        match self.sealer.open(key, value) {
            Ok((_, octets)) => postcard::from_bytes(&octets).ok(),
            Err(unopened) => {
                let _ = self.count(unopened);
                None
            }
        }
    }

    async fn answer_anew(&self, link: &mut Link, key: String, reply: &[u8]) -> Result<(), RedisError> {
        let value = self.seal_packet(&key, &Body::Replied(reply.to_vec()))?;
        self.stats.round_trips.inc();
        match run(link, &key, first(&key, &value, REPLY_LIVES)).await? {
            Value::Nil => Ok(()),
            there => self.answer(link, &Ticket { key, value }, Ok(there)).await,
        }
    }

    /// A reply that was sent takes the place of a node that has the packet in progress, so that whoever asks from now on gets what
    /// was sent first. Another reply stays.
    async fn answer(&self, link: &mut Link, ours: &Ticket, there: Result<Value, RedisError>) -> Result<(), RedisError> {
        let there = value(there?)?;
        if let Some(Body::Pending(_)) = self.body(&ours.key, &there) {
            self.replace(link, &ours.key, &there, &ours.value, REPLY_LIVES).await?;
        }
        Ok(())
    }

    /// What `there` means, which was there before `ours`.
    async fn seen(&self, link: &mut Link, ours: Ticket, mut there: Vec<u8>) -> Result<PacketSeen, RedisError> {
        let key = &ours.key;
        // At most one dead owner after another.
        for _ in 0..3 {
            match self.body(key, &there) {
                Some(Body::Replied(reply)) => return Ok(PacketSeen::Replied(reply)),
                Some(Body::Pending(owner)) if self.members.is_dead(&owner) => {
                    there = self.replace(link, key, &there, &ours.value, PACKET_LIVES).await?;
                    if there == ours.value {
                        return Ok(PacketSeen::New(ours));
                    }
                }
                // What cannot be believed: whoever may have it answers, or nobody.
                Some(Body::Pending(_)) | None => return Ok(PacketSeen::Pending),
            }
        }
        Ok(PacketSeen::Pending)
    }

    async fn replace(
        &self,
        link: &mut Link,
        key: &str,
        known: &[u8],
        new: &[u8],
        lives: Duration,
    ) -> Result<Vec<u8>, RedisError> {
        self.stats.round_trips.inc();
        match run(link, key, replacing(key, known, new, lives, true)).await {
            Err(error) if is_unknown(&error) => run(link, key, replacing(key, known, new, lives, false)).await,
            answer => answer,
        }
        .and_then(value)
    }

    fn seal_packet(&self, key: &str, body: &Body) -> Result<Vec<u8>, RedisError> {
        let octets = postcard::to_allocvec(body).map_err(|_| odd("a packet that cannot be written"))?;
        let header = Header { serial: 0, epoch: 0, expires: Timestamp::default() };
        self.sealer
            .seal(self.members.records(), key, header, &octets)
            .map_err(|_| odd("a packet that cannot be sealed"))
    }
}

/// Puts `value` where nothing is, and answers what is there otherwise.
fn first(key: &str, value: &[u8], lives: Duration) -> Cmd {
    let mut call = redis::cmd("SET");
    call.arg(key).arg(value).arg("NX").arg("GET").arg("PX").arg(lives.as_millis().to_string());
    call
}

fn replacing(key: &str, known: &[u8], new: &[u8], lives: Duration, by_digest: bool) -> Cmd {
    let mut call = REPLACE.call(by_digest, &[key]);
    call.arg(known).arg(new).arg(lives.as_millis().to_string());
    call
}

/// Whether the server does not know the script, as after a restart.
pub(super) fn is_unknown(error: &RedisError) -> bool {
    error.kind() == ErrorKind::Server(ServerErrorKind::NoScript)
}

/// Whether nothing stands under a key, as the script says it.
fn is_empty(answer: &Value) -> bool {
    matches!(answer, Value::BulkString(there) if there.is_empty())
}

fn value(answer: Value) -> Result<Vec<u8>, RedisError> {
    match answer {
        Value::BulkString(value) => Ok(value),
        _ => Err(odd("no value")),
    }
}

async fn run(link: &mut Link, key: &str, call: Cmd) -> Result<Value, RedisError> {
    let mut pipeline = Pipeline::new();
    pipeline.add_command(call);
    link.run(key, pipeline).await?.into_iter().next().unwrap_or_default().extract_error()
}
