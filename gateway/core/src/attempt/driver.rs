//! Drives one prompt: asks the provider to begin, polls while the user is busy, and commits the outcome. The packets that wait
//! for it are exchanges of their own; they come and go, and the driver stays.
//!
//! ```text
//! Start ─► Beginning ─┬─ approved, denied ───────────────────────────► Settling ─► Over
//!                     ├─ a code is wanted ─► Offering                      ▲
//!                     ├─ wait ─► Saving ─► Waiting ◄──► Polling ───────────┘
//!                     └─ nothing to ask with ─► Abandoning ─► Over
//! ```
//!
//! [`step`](Driver::step) follows the contract of the exchange: the edge performs all effects of one input before it feeds
//! the next. At the deadline whatever is still open ends as unanswered.

use super::record::{AttemptId, AttemptKey, Settled};
use super::transition::{Change, Outcome, Rules, Transition};
use crate::event::{Event, Step, Subject};
use crate::factor::{Approval, BeginAnswer, BeginQuestion, CodeWanted, PollAnswer, PollQuestion, Terms};
use crate::identity::Identity;
use crate::planted::{self, Fault};
use crate::reason::Reason;
use crate::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// Between two polls of one prompt, while few are pending.
pub const POLL_EVERY: Duration = Duration::from_secs(2);
/// Between two polls of one prompt at most, however many are pending.
pub const POLL_AT_LEAST_EVERY: Duration = Duration::from_secs(10);
/// Polls a second of one node, before they are stretched.
const POLLS_PER_SECOND: usize = 1_000;
/// The last poll is sent this long before the deadline, so that its answer still counts.
const LAST_POLL: Duration = Duration::from_millis(1_500);
/// What could not be committed is tried again after this.
const COMMIT_AGAIN: Duration = Duration::from_secs(1);

/// One prompt that is to be made: a claim, and what to ask.
#[derive(Clone, Debug)]
pub struct Prompt {
    /// Whose.
    pub key: AttemptKey,
    /// The epoch of the claim.
    pub epoch: u64,
    /// The rules that the attempt began with.
    pub rules: Arc<Rules>,
    /// The configured name of the second factor.
    pub factor: Arc<str>,
    /// Who.
    pub user: Arc<Identity>,
    /// The correlation id.
    pub id: AttemptId,
    /// When the attempt began.
    pub begun: Timestamp,
    /// What the prompt may be.
    pub terms: Terms,
    /// When it ends undecided.
    pub deadline: Timestamp,
    /// What a dead node saved of it: go on with that, and prompt nobody.
    pub session: Option<Arc<[u8]>>,
}

/// How many prompts there are on this node.
#[derive(Clone, Copy, Debug)]
pub struct Load {
    /// Pending, this one included.
    pub pending: usize,
    /// How many may be.
    pub limit: usize,
}

impl Load {
    /// How long until the next poll: the budget of a node is shared by what is pending.
    fn poll_after(self) -> Duration {
        let shared = u64::try_from(self.pending.saturating_mul(1_000) / POLLS_PER_SECOND).unwrap_or(u64::MAX);
        Duration::from_millis(shared).clamp(POLL_EVERY, POLL_AT_LEAST_EVERY)
    }
}

/// What is fed to a driver.
#[derive(Debug)]
pub enum Input {
    /// Begin.
    Start,
    /// The provider answered the beginning.
    Begun(BeginAnswer),
    /// The provider answered a poll.
    Polled(PollAnswer),
    /// The store applied a transition, or could not.
    Applied(Result<Outcome, Reason>),
    /// The time that was asked for has come.
    Wake,
}

/// What the edge is to do.
#[derive(Debug)]
pub enum Effect {
    /// Ask the provider to begin, and feed its answer.
    Begin(BeginQuestion),
    /// Ask the provider what became of it, and feed its answer.
    Poll(PollQuestion),
    /// Apply to the store, and feed the outcome.
    Apply(Box<Transition>),
    /// Feed [`Input::Wake`] then, and not at any time asked for before.
    WakeAt(Timestamp),
    /// Whoever waits is to ask for a code. It stays on offer until the driver ends.
    Offer(CodeWanted),
    /// Something is in the store: whoever waits is to look. The driver has ended.
    End,
    /// Tells whoever waits that nobody was prompted, for this reason, and that the attempt is gone. The driver has ended.
    NotBegun(Reason),
    /// Tell.
    Emit(Event),
}

#[derive(Debug)]
enum Stage {
    Fresh,
    Beginning,
    Saving(Arc<[u8]>),
    Waiting(Arc<[u8]>),
    Polling(Arc<[u8]>),
    Offering,
    Settling(Settled),
    Abandoning(Reason),
    Over,
}

/// One prompt under way.
#[derive(Debug)]
pub struct Driver {
    prompt: Box<Prompt>,
    stage: Stage,
    asked: Timestamp,
    /// Why the polls since the last answer had none.
    missed: Option<Reason>,
}

impl Driver {
    /// For a prompt that was claimed; feed it [`Input::Start`].
    pub fn new(prompt: Box<Prompt>, now: Timestamp) -> Self {
        Self { prompt, stage: Stage::Fresh, asked: now, missed: None }
    }

    /// What it drives.
    pub fn prompt(&self) -> &Prompt {
        &self.prompt
    }

    /// Takes one input and says what to do. What does not fit the stage is ignored: an answer may come after its time.
    pub fn step(&mut self, input: Input, load: Load, now: Timestamp) -> Vec<Effect> {
        let mut effects = Vec::with_capacity(3);
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        self.stage = self.next(stage, input, load, now, &mut effects);
        effects
    }

    fn next(&mut self, stage: Stage, input: Input, load: Load, now: Timestamp, effects: &mut Vec<Effect>) -> Stage {
        match (stage, input) {
            (Stage::Fresh, Input::Start) if load.pending > load.limit => {
                self.settle(Settled::Failed(Reason::PromptsFull), effects)
            }
            (Stage::Fresh, Input::Start) if let Some(session) = self.saved() => {
                self.asked = now;
                self.poll(session, effects)
            }
            (Stage::Fresh, Input::Start) => {
                let Prompt { factor, user, id, terms, deadline, .. } = &*self.prompt;
                let (factor, user, id, terms, deadline) = (factor.clone(), user.clone(), *id, *terms, *deadline);
                self.asked = now;
                effects.push(self.tell(Step::Prompted { factor: factor.clone() }));
                effects.push(Effect::WakeAt(deadline));
                effects.push(Effect::Begin(BeginQuestion { factor, user, id, terms, deadline }));
                Stage::Beginning
            }

            (Stage::Beginning, Input::Begun(answer)) => self.begun(answer, now, effects),
            (Stage::Saving(session), Input::Applied(Ok(Outcome::Done))) => self.wait(session, load, now, effects),
            (Stage::Saving(_), Input::Applied(Ok(_))) => self.superseded(effects),
            // Without its record no other node could go on, but this one can.
            (Stage::Saving(session), Input::Applied(Err(_))) => self.wait(session, load, now, effects),

            (Stage::Waiting(session), Input::Wake) if now < self.prompt.deadline => self.poll(session, effects),
            (Stage::Polling(session), Input::Polled(answer)) => match answer {
                PollAnswer::Approved => self.answered(Ok(Approval::User), now, effects),
                // The node before us had the answer, and died with it.
                PollAnswer::Denied(Reason::SessionExpired) if self.prompt.session.is_some() => {
                    self.answered(Err(Reason::AnswerDiedWithOwner), now, effects)
                }
                // The provider forgets a session once it has told its outcome, and that answer was lost.
                PollAnswer::Denied(Reason::SessionExpired) if let Some(missed) = self.missed => {
                    self.answered(Err(missed), now, effects)
                }
                PollAnswer::Denied(reason) => self.answered(Err(reason), now, effects),
                PollAnswer::Waiting => {
                    self.missed = None;
                    self.wait(session, load, now, effects)
                }
                PollAnswer::Unavailable(reason) => {
                    self.missed = Some(reason);
                    self.wait(session, load, now, effects)
                }
            },

            (Stage::Settling(verdict), Input::Applied(Ok(outcome))) => {
                // The log line of the packet that waits tells the outcome. Where none waits, a refusal is told here; an approval
                // may still be collected.
                if let (Settled::Failed(reason), Outcome::Committed { to: None }) = (verdict, outcome) {
                    let Prompt { key, id, begun, .. } = &*self.prompt;
                    let (user, client) = (key.user.clone(), key.group.clone());
                    effects.push(Effect::Emit(Event::Unanswered { id: *id, user, client, begun: *begun, reason }));
                }
                effects.push(Effect::End);
                Stage::Over
            }
            (Stage::Settling(verdict), Input::Applied(Err(_))) if now < self.prompt.deadline => {
                effects.push(Effect::WakeAt(now.after(COMMIT_AGAIN)));
                Stage::Settling(verdict)
            }
            (Stage::Settling(_), Input::Applied(Err(_))) => self.superseded(effects),
            (Stage::Settling(verdict), Input::Wake) => self.settle(verdict, effects),

            (Stage::Abandoning(reason), Input::Applied(Err(_))) if now < self.prompt.deadline => {
                effects.push(Effect::WakeAt(now.after(COMMIT_AGAIN)));
                Stage::Abandoning(reason)
            }
            (Stage::Abandoning(reason), Input::Applied(_)) => {
                effects.push(Effect::NotBegun(reason));
                Stage::Over
            }
            (Stage::Abandoning(reason), Input::Wake) => self.abandon(reason, effects),

            // The code was offered long enough; its challenge has a deadline of its own.
            (Stage::Offering, Input::Wake) => self.superseded(effects),
            (Stage::Beginning | Stage::Saving(_) | Stage::Waiting(_) | Stage::Polling(_), Input::Wake) => {
                // Where the provider could not be asked to the end, the user is not the one who did not answer.
                self.answered(Err(self.missed.unwrap_or(Reason::PromptUnanswered)), now, effects)
            }
            (stage, _) => stage,
        }
    }

    fn begun(&mut self, answer: BeginAnswer, now: Timestamp, effects: &mut Vec<Effect>) -> Stage {
        match answer {
            BeginAnswer::Approved(approval) => self.answered(Ok(approval), now, effects),
            // Nobody was asked, and the user is not refused for it: the packet that comes again begins anew.
            BeginAnswer::Unavailable(reason) if reason.is_lack() => {
                let (factor, took) = (self.prompt.factor.clone(), now.since(self.asked));
                effects.push(self.tell(Step::Prompt { factor, answer: Err(reason), took }));
                self.abandon(reason, effects)
            }
            BeginAnswer::Denied(reason) | BeginAnswer::Unavailable(reason) => self.answered(Err(reason), now, effects),
            BeginAnswer::CodeWanted(_) if !self.prompt.terms.code => {
                self.answered(Err(Reason::ChallengeImpossible), now, effects)
            }
            BeginAnswer::CodeWanted(wanted) => {
                effects.push(Effect::Offer(wanted));
                Stage::Offering
            }
            BeginAnswer::Waiting { session } => {
                effects.push(self.apply(Change::Await { epoch: self.prompt.epoch, session: session.clone() }));
                Stage::Saving(session)
            }
        }
    }

    /// What a dead node saved.
    fn saved(&self) -> Option<Arc<[u8]>> {
        self.prompt.session.clone().filter(|_| !planted::is(Fault::TakeOverPromptsAgain))
    }

    fn poll(&self, session: Arc<[u8]>, effects: &mut Vec<Effect>) -> Stage {
        let Prompt { factor, user, id, .. } = &*self.prompt;
        let (factor, user, id) = (factor.clone(), user.clone(), *id);
        effects.push(Effect::WakeAt(self.prompt.deadline));
        effects.push(Effect::Poll(PollQuestion { factor, user, id, session: session.clone() }));
        Stage::Polling(session)
    }

    fn wait(&self, session: Arc<[u8]>, load: Load, now: Timestamp, effects: &mut Vec<Effect>) -> Stage {
        let deadline = self.prompt.deadline;
        let last = deadline.before(LAST_POLL);
        let next = now.after(load.poll_after());
        // The last look is just before the end; behind it there is only the end.
        effects.push(Effect::WakeAt(if now >= last { deadline } else { next.min(last) }));
        Stage::Waiting(session)
    }

    fn answered(&mut self, answer: Result<Approval, Reason>, now: Timestamp, effects: &mut Vec<Effect>) -> Stage {
        let answer = answer.or_else(|reason| {
            let approves = reason == Reason::PromptDenied && planted::is(Fault::DenialIsApproval);
            if approves { Ok(Approval::User) } else { Err(reason) }
        });
        let (factor, took) = (self.prompt.factor.clone(), now.since(self.asked));
        effects.push(self.tell(Step::Prompt { factor, answer, took }));
        self.settle(answer.map_or_else(Settled::Failed, |_| Settled::Passed), effects)
    }

    fn settle(&self, verdict: Settled, effects: &mut Vec<Effect>) -> Stage {
        let epoch = self.prompt.epoch;
        effects.push(self.apply(Change::Settle { epoch, taken: None, verdict, code: None }));
        Stage::Settling(verdict)
    }

    /// Nobody was prompted: nothing is to be left of the attempt.
    fn abandon(&self, reason: Reason, effects: &mut Vec<Effect>) -> Stage {
        effects.push(self.apply(Change::Abandon { epoch: self.prompt.epoch }));
        Stage::Abandoning(reason)
    }

    /// Somebody else goes on with the attempt, or nobody can.
    fn superseded(&self, effects: &mut Vec<Effect>) -> Stage {
        effects.push(Effect::End);
        Stage::Over
    }

    fn tell(&self, step: Step) -> Effect {
        let Prompt { key, user, id, .. } = &*self.prompt;
        let (client, user) = (key.group.clone(), user.given.as_str().into());
        let subject = Arc::new(Subject { client, source: None, user, station: key.station.clone() });
        Effect::Emit(Event::Step { id: *id, subject, step })
    }

    fn apply(&self, change: Change) -> Effect {
        let Prompt { key, rules, .. } = &*self.prompt;
        Effect::Apply(Box::new(Transition { key: key.clone(), change, rules: rules.clone() }))
    }
}

#[cfg(test)]
mod tests;
