//! One request in progress. The actor performs what the core's exchange asks for and feeds the answers back; it decides
//! nothing itself. If it dies, the NAS hears nothing and asks again: no accept comes into being by accident.

use crate::backends::Answer;
use crate::clock::{self, OsEntropy};
use crate::listen::reply_to::ReplyTo;
use crate::node::{Active, Node, Permit};
use actix::prelude::*;
use cluster::{Applied, StoreError};
use gateway_core::attempt::transition::{Outcome, Transition};
use gateway_core::event::{Event, Step};
use gateway_core::exchange::{self, Effect, Input, PACKET_DEADLINE, Request, Verdict};
use gateway_core::radius::{Packet, SharedSecret, encode_reply};
use gateway_core::reason::Reason;
use gateway_core::time::Timestamp;
use std::cell::RefCell;
use std::collections::VecDeque;
use std::rc::Rc;
use std::sync::Arc;

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
    waits: bool,
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
        let client = request.client.clone();
        let setting = active.setting.clone();
        let core = exchange::Exchange::new(request, setting, &mut *entropy.borrow_mut());
        Self {
            core,
            entropy,
            node,
            active,
            packet,
            secret,
            client,
            reply_to: Some(reply_to),
            waits: false,
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
            let step = self.core.step(input, now, &mut *self.entropy.borrow_mut());
            let effects = match step {
                Ok(effects) => effects,
                Err(unexpected) => {
                    let step = Step::Unexpected { stage: unexpected.stage, input: unexpected.input };
                    self.node.observer.observe(Event::Step { id: self.core.id(), step }, now);
                    return self.end(None, ctx);
                }
            };
            for effect in effects {
                self.perform(effect, now, &mut inputs, ctx);
            }
        }
    }

    fn perform(&mut self, effect: Effect, now: Timestamp, inputs: &mut VecDeque<Input>, ctx: &mut Context<Self>) {
        match effect {
            Effect::Ask(question) => match self.active.backends.ask(question, now) {
                Answer::Now(input) => inputs.push_back(input),
                Answer::Later(answer) => self.wait(answer, ctx),
            },
            Effect::Apply(transition) => match self.node.store.apply(*transition, now) {
                Applied::Now(outcome) => inputs.push_back(applied(outcome)),
                Applied::Later(outcome) => self.wait(Box::pin(async move { applied(outcome.await) }), ctx),
            },
            Effect::Leave(transition) => self.leave(*transition, now),
            Effect::Reply(verdict) => {
                let reply = self.encode(&verdict);
                self.end(reply, ctx);
            }
            Effect::Silence => self.end(None, ctx),
            Effect::Emit(event) => self.node.observer.observe(event, now),
        }
    }

    fn wait(&mut self, answer: impl Future<Output = Input> + 'static, ctx: &mut Context<Self>) {
        if !self.waits {
            // Most exchanges never wait, and a timer for each would cost more than their cryptography.
            self.waits = true;
            ctx.run_later(PACKET_DEADLINE, |this, ctx| this.feed(Input::Wake, ctx));
        }
        ctx.spawn(answer.into_actor(self).map(|input, this, ctx| this.feed(input, ctx)));
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
        let packet = Packet::parse(&self.packet).ok()?;
        let secret: &SharedSecret = self.client.secrets.get(self.secret)?;
        match encode_reply(verdict.code(), &packet, verdict.attributes(), secret) {
            Ok(reply) => Some(reply.into()),
            Err(error) => {
                let reason = Reason::ReplyTooLong;
                tracing::error!(client = &*self.client.name, %error, reason_id = reason.id(), "{} {}", reason.cause(), reason.remedy());
                None
            }
        }
    }

    fn end(&mut self, reply: Option<Arc<[u8]>>, ctx: &mut Context<Self>) {
        if let Some(reply_to) = self.reply_to.take() {
            reply_to.finish(reply);
        }
        ctx.stop();
    }
}

fn applied(outcome: Result<Outcome, StoreError>) -> Input {
    Input::Applied(outcome.map_err(StoreError::reason))
}

impl Actor for Exchange {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.feed(Input::Start, ctx);
    }
}

impl Drop for Exchange {
    /// Whatever ended the actor, a panic included, the same packet counts as new from now on.
    fn drop(&mut self) {
        if let Some(reply_to) = self.reply_to.take() {
            reply_to.finish(None);
        }
    }
}
