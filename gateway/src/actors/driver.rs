//! One prompt under way. The actor performs what the core's driver asks for and feeds the answers back. Packets that wait for the
//! outcome are exchanges of their own, which it reaches by way of [`Pending`](crate::pending::Pending). If it dies, whoever waits is told and
//! finds out that the prompt is lost.

use super::messages::OfferTaken;
use crate::backends::Answer;
use crate::clock;
use crate::node::{Active, Node};
use crate::telemetry::trace;
use actix::prelude::*;
use cluster::Applied;
use gateway_core::attempt::driver::{self, Effect, Input, Load, Prompt};
use gateway_core::attempt::transition::{Change, Transition};
use gateway_core::factor::CodeWanted;
use gateway_core::time::Timestamp;
use std::collections::VecDeque;
use std::sync::Arc;

/// One prompt under way.
pub struct Driver {
    core: driver::Driver,
    node: Arc<Node>,
    active: Arc<Active>,
    wake: Option<SpawnHandle>,
    ended: bool,
    /// What it did so far, where there are traces.
    trail: Option<Box<trace::prompt::Prompt>>,
}

impl Driver {
    /// For a prompt that was claimed; the caller enters it into the table of pending prompts.
    pub fn new(prompt: Box<Prompt>, (node, active): (Arc<Node>, Arc<Active>)) -> Self {
        let now = clock::now();
        let trail = node.tracing.as_ref().map(|tracing| trace::prompt::Prompt::new(tracing, now));
        Self { core: driver::Driver::new(prompt, now), node, active, wake: None, ended: false, trail }
    }

    /// Feeds one input, performs all its effects, then feeds what was answered at once.
    fn feed(&mut self, first: Input, ctx: &mut Context<Self>) {
        let mut inputs = VecDeque::from([first]);
        while let Some(input) = inputs.pop_front() {
            let now = clock::now();
            let limit = self.active.setting.config.limits.pending_prompts;
            let load = Load { pending: self.node.pending.len(), limit };
            if let Some(trail) = &mut self.trail {
                trail.input(&input, now);
            }
            for effect in self.core.step(input, load, now) {
                self.perform(effect, now, &mut inputs, ctx);
            }
        }
    }

    fn perform(&mut self, effect: Effect, now: Timestamp, inputs: &mut VecDeque<Input>, ctx: &mut Context<Self>) {
        if let Some(trail) = &mut self.trail {
            trail.effect(&effect, now);
        }
        match effect {
            Effect::Begin(question) => {
                let answer = trace::calls::within(self.call("begin"), || self.active.backends.begin(&question));
                self.take(answer, Input::Begun, inputs, ctx);
            }
            Effect::Poll(question) => {
                let answer = trace::calls::within(self.call("poll"), || self.active.backends.poll(&question));
                self.take(answer, Input::Polled, inputs, ctx);
            }
            Effect::Apply(transition) => match self.node.store.apply(*transition, now) {
                Applied::Now(outcome) => inputs.push_back(Input::Applied(outcome.map_err(cluster::StoreError::reason))),
                Applied::Later(outcome) => {
                    let outcome = async move { Input::Applied(outcome.await.map_err(cluster::StoreError::reason)) };
                    self.wait(outcome, ctx);
                }
            },
            Effect::WakeAt(at) => {
                if let Some(earlier) = self.wake.take() {
                    ctx.cancel_future(earlier);
                }
                self.wake = Some(ctx.run_later(at.since(now), |this, ctx| this.feed(Input::Wake, ctx)));
            }
            Effect::Offer(wanted) => {
                if self.node.store.is_shared() {
                    return self.offer_to_all(wanted, now, ctx);
                }
                let prompt = self.core.prompt();
                self.node.pending.offer(&prompt.key, prompt.epoch, wanted);
            }
            Effect::End => {
                self.end();
                ctx.stop();
            }
            Effect::NotBegun(reason) => {
                self.ended = true;
                let prompt = self.core.prompt();
                self.node.pending.not_begun(&prompt.key, prompt.epoch, reason);
                ctx.stop();
            }
            Effect::Emit(event) => self.node.observer.observe(event, now),
        }
    }

    /// The packet that waits may do so on another node: the store keeps the offer, and gives it to the newest.
    fn offer_to_all(&self, wanted: CodeWanted, now: Timestamp, ctx: &mut Context<Self>) {
        let prompt = self.core.prompt();
        let change = Change::Offer { epoch: prompt.epoch, wanted };
        let transition = Transition { key: prompt.key.clone(), change, rules: prompt.rules.clone() };
        let (key, epoch) = (prompt.key.clone(), prompt.epoch);
        let applied = self.node.store.apply(transition, now);
        let offered = async move {
            if let Applied::Later(outcome) = applied {
                let _ = outcome.await;
            }
        };
        ctx.spawn(offered.into_actor(self).map(move |(), this, _| this.node.pending.look(&key, epoch)));
    }

    fn call(&self, name: &'static str) -> Option<tracing::Span> {
        self.trail.as_ref()?.call(name, self.core.prompt())
    }

    fn take<T: 'static>(
        &self,
        answer: Answer<T>,
        input: impl FnOnce(T) -> Input + 'static,
        inputs: &mut VecDeque<Input>,
        ctx: &mut Context<Self>,
    ) {
        match answer {
            Answer::Now(answer) => inputs.push_back(input(answer)),
            Answer::Later(answer) => self.wait(async move { input(answer.await) }, ctx),
        }
    }

    fn wait(&self, answer: impl Future<Output = Input> + 'static, ctx: &mut Context<Self>) {
        ctx.spawn(answer.into_actor(self).map(|input, this, ctx| this.feed(input, ctx)));
    }

    /// Tells whoever waits to look into the store.
    fn end(&mut self) {
        if !std::mem::replace(&mut self.ended, true) {
            let prompt = self.core.prompt();
            self.node.pending.end(&prompt.key, prompt.epoch);
        }
    }
}

impl Actor for Driver {
    type Context = Context<Self>;

    fn started(&mut self, ctx: &mut Context<Self>) {
        self.feed(Input::Start, ctx);
    }
}

impl Handler<OfferTaken> for Driver {
    type Result = ();

    /// The table has no entry for it any more.
    fn handle(&mut self, _: OfferTaken, ctx: &mut Context<Self>) {
        self.ended = true;
        ctx.stop();
    }
}

impl Drop for Driver {
    fn drop(&mut self) {
        self.end();
        if let Some(trail) = self.trail.take() {
            trail.finish(self.core.prompt(), self.node.observer.names_users(), clock::now());
        }
    }
}
