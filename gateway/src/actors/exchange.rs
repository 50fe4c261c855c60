//! One request in progress. The actor performs what the core's exchange asks for and feeds the answers back; it decides
//! nothing itself. If it dies, the NAS hears nothing and asks again: no accept comes into being by accident.

use super::driver::Driver;
use super::messages::PromptNews;
use crate::backends::Answer;
use crate::clock::{self, OsEntropy};
use crate::listen::reply_to::ReplyTo;
use crate::node::{Active, Node};
use crate::pending::Waiter;
use crate::permits::Permit;
use crate::telemetry::trace;
use actix::prelude::*;
use cluster::{Applied, PacketSeen, StoreError, Ticket, Watch};
use gateway_core::attempt::driver::Prompt;
use gateway_core::attempt::record::{AttemptKey, Owner, PacketDigest};
use gateway_core::attempt::transition::{CLAIM_HOLDS, Outcome, Transition};
use gateway_core::event::{Event, Step};
use gateway_core::exchange::duplicates::{End, Telling};
use gateway_core::exchange::{self, Effect, Input, News, PACKET_DEADLINE, Packets, Request, Verdict};
use gateway_core::radius::{Packet, SharedSecret, encode_reply};
use gateway_core::reason::Reason;
use gateway_core::time::Timestamp;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

/// After this a claim has its driver, or was given up.
const CLAIM_UNDER_WAY: Duration = CLAIM_HOLDS.saturating_add(Duration::from_millis(500));

/// The randomness of one thread, which its exchanges share.
pub type Entropy = Rc<RefCell<OsEntropy>>;

/// One request in progress.
pub struct Exchange {
    core: exchange::Exchange,
    entropy: Entropy,
    node: Arc<Node>,
    active: Arc<Active>,
    /// The request's octets: the reply answers their identifier, authenticator and Proxy-State.
    packet: Box<[u8]>,
    /// Which of the client's secrets signs the reply.
    secret: usize,
    client: Arc<gateway_core::config::Client>,
    /// `None` once it was used.
    reply_to: Option<ReplyTo>,
    wake: Option<SpawnHandle>,
    digest: PacketDigest,
    /// The attempt whose prompt it waits for, and as whom.
    waits_for: Option<(Box<AttemptKey>, Waiter)>,
    /// Hears of prompts of the user that another node drives.
    elsewhere: Option<Rc<Watch>>,
    /// How often it found nobody who drives a prompt of this node.
    looks: u8,
    /// Its kind, as other nodes are concerned.
    kind: Packets,
    /// Other nodes know that this one has the packet.
    ticket: Option<Ticket>,
    /// What the audit had failed to write when it began.
    audit_failures: u64,
    /// The audit has taken everything that it told.
    audited: bool,
    /// The reply, until the audit of it is durable.
    reply: Option<(End, Option<Timestamp>)>,
    /// They have it, or its reply came from them.
    theirs: bool,
    /// What it did so far, where there are traces.
    trail: Option<Box<trace::packet::Packet>>,
    _permit: Permit,
}

impl Exchange {
    /// An exchange for `request`, which was read from `packet`.
    pub fn new(
        request: Request,
        packet: Box<[u8]>,
        secret: usize,
        reply_to: ReplyTo,
        entropy: Entropy,
        (node, active): (Arc<Node>, Arc<Active>),
        permit: Permit,
    ) -> Self {
        let (client, digest) = (request.client.clone(), request.digest);
        let (setting, received) = (active.setting.clone(), request.received);
        let core = exchange::Exchange::new(request, setting, &mut *entropy.borrow_mut());
        let kind = core.kind();
        let audit_failures = node.observer.audit.failures();
        let trail = node.tracing.as_ref().map(|tracing| trace::packet::Packet::new(tracing, core.id(), received));
        Self {
            core,
            entropy,
            node,
            active,
            packet,
            secret,
            client,
            reply_to: Some(reply_to),
            wake: None,
            digest,
            waits_for: None,
            elsewhere: None,
            looks: 0,
            kind,
            ticket: None,
            audit_failures,
            audited: true,
            reply: None,
            theirs: false,
            trail,
            _permit: permit,
        }
    }

    /// Feeds one input, performs all its effects, then feeds what was answered at once, until there is nothing to feed.
    fn feed(&mut self, first: Input, ctx: &mut Context<Self>) {
        let mut inputs = VecDeque::from([first]);
        while let Some(input) = inputs.pop_front() {
            // A timer or an answer that comes after the end.
            if self.core.is_over() {
                return;
            }
            let now = clock::now();
            if let Some(trail) = &mut self.trail {
                trail.input(&input, now);
            }
            let step = self.core.step(input, now, &mut *self.entropy.borrow_mut());
            let effects = match step {
                Ok(effects) => effects,
                Err(unexpected) => {
                    let step = Step::Unexpected { stage: unexpected.stage, input: unexpected.input };
                    let id = self.core.id();
                    if let Some(trail) = &mut self.trail {
                        trail.unexpected(id, now);
                    }
                    let subject = self.core.subject().clone();
                    self.node.observer.observe(Event::Step { id, subject, step }, now);
                    return self.end(End::Forgotten, ctx);
                }
            };
            for effect in effects {
                self.perform(effect, now, &mut inputs, ctx);
            }
            if let Some((end, not_before)) = self.reply.take() {
                self.send(end, not_before, ctx);
            }
        }
    }

    fn perform(&mut self, effect: Effect, now: Timestamp, inputs: &mut VecDeque<Input>, ctx: &mut Context<Self>) {
        if let Some(trail) = &mut self.trail {
            trail.effect(&effect, self.node.observer.names_users(), now);
        }
        match effect {
            Effect::Ask(question) => {
                let span = self.trail.as_ref().and_then(|trail| trail.call(&question));
                match trace::calls::within(span, || self.node.ask(&self.active, question, self.core.id(), now)) {
                    Answer::Now(input) => inputs.push_back(input),
                    Answer::Later(answer) => self.wait(answer, ctx),
                }
            }
            Effect::Apply(transition) => match self.node.store.apply(*transition, now) {
                Applied::Now(outcome) => inputs.push_back(applied(outcome)),
                Applied::Later(outcome) => self.wait(Box::pin(async move { applied(outcome.await) }), ctx),
            },
            Effect::Leave(transition) => self.leave(*transition, now),
            Effect::Drive(prompt) => self.drive(prompt, ctx),
            Effect::Join { key, owner, .. } if owner != *self.node.owner() => self.wait_elsewhere(&key, owner, ctx),
            Effect::Join { key, epoch, .. } => {
                match self.node.pending.join(&key, epoch, self.waiter(ctx)) {
                    Some(News::Look) => self.no_driver(inputs, ctx),
                    Some(news) => inputs.push_back(Input::News(news)),
                    None => {}
                }
                self.waits_for = Some((Box::new(key), self.waiter(ctx)));
            }
            Effect::Answered { key, epoch } => self.node.pending.answered(&key, epoch),
            Effect::WakeAt(at) => self.wake_after(at.since(now), ctx),
            Effect::Reply(verdict) => {
                let end = self.encode(&verdict).map_or(End::Forgotten, End::Replied);
                // The event that tells of it is among the effects that follow.
                self.reply = Some((end, verdict.send_at()));
            }
            Effect::Silence => self.end(End::Forgotten, ctx),
            Effect::Discard => self.end(End::Discarded, ctx),
            Effect::Emit(event) => self.audited &= self.node.observer.record(event, now),
        }
    }

    /// What other nodes know of this packet.
    fn packet_seen(&mut self, seen: Result<PacketSeen, StoreError>, ctx: &mut Context<Self>) {
        match seen {
            Ok(PacketSeen::New(ticket)) => {
                self.ticket = Some(ticket);
                self.feed(Input::Start, ctx);
            }
            // The store is lost, and what that means the attempt's own transitions find out.
            Err(_) => self.feed(Input::Start, ctx),
            Ok(PacketSeen::Pending) => self.end_as_theirs(End::Forgotten, ctx),
            Ok(PacketSeen::Replied(reply)) => self.end_as_theirs(End::Replied(reply.into()), ctx),
        }
    }

    fn wait(&mut self, answer: impl Future<Output = Input> + 'static, ctx: &mut Context<Self>) {
        if self.wake.is_none() {
            // Most exchanges never wait, and a timer for each would cost more than their cryptography.
            self.wake_after(PACKET_DEADLINE, ctx);
        }
        ctx.spawn(answer.into_actor(self).map(|input, this, ctx| this.feed(input, ctx)));
    }

    fn wake_after(&mut self, span: Duration, ctx: &mut Context<Self>) {
        if let Some(earlier) = self.wake.take() {
            ctx.cancel_future(earlier);
        }
        self.wake = Some(ctx.run_later(span, |this, ctx| this.feed(Input::Wake, ctx)));
    }

    fn drive(&mut self, prompt: Box<Prompt>, ctx: &Context<Self>) {
        let (key, epoch) = (prompt.key.clone(), prompt.epoch);
        let driver = Driver::new(prompt, (self.node.clone(), self.active.clone())).start();
        self.node.pending.begin(&key, epoch, driver.recipient(), self.waiter(ctx));
        self.waits_for = Some((Box::new(key), self.waiter(ctx)));
    }

    /// Nobody drives the prompt here, though this node owns it. It may have ended just now; or the claim is on its way still, and
    /// the driver comes with the store's answer. Only what stays so is lost.
    fn no_driver(&mut self, inputs: &mut VecDeque<Input>, ctx: &mut Context<Self>) {
        self.looks = self.looks.saturating_add(1);
        match self.looks {
            1 => inputs.push_back(Input::News(News::Changed)),
            2 => drop(ctx.run_later(CLAIM_UNDER_WAY, |this, ctx| this.feed(Input::News(News::Changed), ctx))),
            _ => inputs.push_back(Input::News(News::Look)),
        }
    }

    /// Waits for a prompt that `owner` drives, another node or an earlier life of this one. What is heard is a hint to look into the
    /// store; the hint may be lost, and the owner may die.
    fn wait_elsewhere(&mut self, key: &AttemptKey, owner: Owner, ctx: &mut Context<Self>) {
        // One watch for as long as the exchange lives: its first word is that of its own subscription.
        self.elsewhere = self.elsewhere.take().or_else(|| self.node.store.watch(&key.user).map(Rc::new));
        let Some(watch) = self.elsewhere.clone() else {
            // Nobody else writes into this store, so that nobody drives the prompt any more.
            ctx.address().do_send(PromptNews(News::Look));
            return;
        };
        let node = self.node.clone();
        let hears = async move {
            watch.changed().await;
            if node.store.is_dead(&owner) { News::OwnerDied(owner) } else { News::Changed }
        };
        ctx.spawn(hears.into_actor(self).map(|news, this, ctx| this.feed(Input::News(news), ctx)));
    }

    fn waiter(&self, ctx: &Context<Self>) -> Waiter {
        ctx.address().recipient()
    }

    /// A transition that must happen whether or not this actor lives to hear of it.
    fn leave(&self, transition: Transition, now: Timestamp) {
        if let Applied::Later(outcome) = self.node.store.apply(transition, now) {
            actix_rt::spawn(async move {
                let _ = outcome.await;
            });
        }
    }

    fn encode(&self, verdict: &Verdict) -> Option<Arc<[u8]>> {
        // A packet that is refused for a fault of its attributes is answered all the same.
        let packet = Packet::frame(&self.packet).ok()?.packet;
        let secret: &SharedSecret = self.client.secrets.get(self.secret)?;
        // What only this packet's secret and authenticator can hide goes in last. The salt need not be random, only the packet's
        // own (RFC 2548 §2.4.2): so every node gives the same packet the same octets.
        let [first, second, ..] = self.digest.0;
        let salt = u16::from_be_bytes([first, second]);
        let whole = verdict
            .session()
            .map(|session| session.attributes(verdict.attributes(), secret, packet.authenticator(), salt));
        let reply = match whole {
            None => encode_reply(verdict.code(), &packet, verdict.attributes(), secret),
            Some(Ok(attributes)) => encode_reply(verdict.code(), &packet, &attributes, secret),
            Some(Err(error)) => Err(error),
        };
        match reply {
            Ok(reply) => Some(reply.into()),
            Err(error) => {
                let reason = Reason::ReplyTooLong;
                let id = self.core.id();
                tracing::error!(attempt = %id, client = &*self.client.name, %error, reason_id = reason.id(), "{} {}", reason.cause(), reason.remedy());
                None
            }
        }
    }

    fn end(&mut self, end: End, ctx: &mut Context<Self>) {
        self.settle(end, None);
        ctx.stop();
    }

    /// Sends the reply, once the audit of it is durable. What cannot be written down is not answered.
    fn send(&mut self, end: End, not_before: Option<Timestamp>, ctx: &mut Context<Self>) {
        let Some(durable) = self.node.observer.audit.durable(self.audit_failures) else {
            self.settle(end, not_before);
            return ctx.stop();
        };
        ctx.spawn(durable.into_actor(self).map(move |durable, this, ctx| {
            let end = if durable && this.audited { end } else { End::Forgotten };
            this.settle(end, not_before);
            ctx.stop();
        }));
    }

    /// Another node decides, or has decided.
    fn end_as_theirs(&mut self, end: End, ctx: &mut Context<Self>) {
        self.theirs = true;
        self.end(end, ctx);
    }

    fn settle(&mut self, end: End, not_before: Option<Timestamp>) {
        if let Some((key, waiter)) = self.waits_for.take() {
            self.node.pending.leave(&key, &waiter);
        }
        let Some(reply_to) = self.reply_to.take() else { return };
        self.tell_others(&end);
        reply_to.finish(end, not_before);
    }

    fn tell_others(&mut self, end: &End) {
        if self.theirs || self.kind == Packets::Forged {
            return;
        }
        let answers = self.kind == Packets::Answer;
        let (store, ticket) = (&self.node.store, self.ticket.take());
        match (end.telling(ticket.is_some()), ticket) {
            (Telling::Reply(reply), Some(ticket)) => store.packet_ended(ticket, Some(reply)),
            (Telling::Reply(reply), None) => store.packet_answered(self.digest, answers, reply),
            (Telling::Free, Some(ticket)) => store.packet_ended(ticket, None),
            (Telling::Free, None) | (Telling::Nothing, _) => {}
        }
    }
}

fn applied(outcome: Result<Outcome, StoreError>) -> Input {
    Input::Applied(outcome.map_err(StoreError::reason))
}

impl Actor for Exchange {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        let shared = match self.kind {
            Packets::Forged => None,
            kind => self.node.store.packet(self.digest, kind == Packets::Answer),
        };
        match shared {
            None => self.feed(Input::Start, ctx),
            Some(seen) => {
                let seen = seen.into_actor(self).map(|seen, this, ctx| this.packet_seen(seen, ctx));
                ctx.spawn(seen);
            }
        }
    }
}

impl Handler<PromptNews> for Exchange {
    type Result = ();

    fn handle(&mut self, PromptNews(news): PromptNews, ctx: &mut Context<Self>) {
        self.feed(Input::News(news), ctx);
    }
}

impl Drop for Exchange {
    /// Whatever ended the actor, a panic included, the same packet counts as new from now on.
    fn drop(&mut self) {
        self.settle(End::Forgotten, None);
    }
}
