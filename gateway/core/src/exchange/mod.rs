//! One packet from a NAS, from its first-factor proof to its one reply. [`step`](Exchange::step) takes an input and the
//! time and returns effects; the edge performs **all effects of one input before it feeds the next**, and feeds back the
//! answer of each question and each transition.
//!
//! ```text
//! Start ─ no State ─► CheckingFirstFactor ─► policy ─┬─ no second factor ────────────────────────► accept
//!   │                   ▲        └ wants a round     └► AskingEnrolment ─► Claiming ─► Beginning
//!   │                   │          └► IssuingRound ─► challenge                │          ├► Settling ─► accept, reject
//!   └─ State ─► Taking ─┴──────────────► CheckingCode ─┬► Settling ─► accept,  │          └► Issuing ─► challenge
//!                 │                                    │              reject   │
//!                 │                                    └► Retrying ─► challenge│
//!                 │            ┌───────────────────────────────────────────────┘ the factor prompts a person
//!                 │            ▼
//!                 └──────► Awaiting ◄─► Collecting ─► accept, reject, silence; a code is wanted ─► Issuing
//!                              └─────► Postponing ─► challenge to come back, accept, reject
//! ```
//!
//! A prompt belongs to the attempt and is driven by [`Driver`](crate::attempt::driver::Driver); the exchange only waits for it, and asks
//! the store for the outcome when it is told that there is one.
//!
//! A verdict that depends on stored state waits for the store's word: the challenge is in the store before it is sent, the
//! outcome is committed before it is spoken (DESIGN: commit, then speak). Whatever is unknown, late or out of order ends
//! in a reject or in silence, never in an accept.

pub mod admission;
pub mod duplicates;
mod ending;
mod leg;
mod prompt;
mod request;
mod stage;
mod verdict;

pub use request::{Request, digest, session_marks};
pub use verdict::Verdict;

use crate::attempt::driver::Prompt;
use crate::attempt::holds::PromptRules;
use crate::attempt::record::{AttemptId, AttemptKey, Owner};
use crate::attempt::state::{Keyring, State, StateId};
use crate::attempt::transition::{Change, Outcome, Rules, Transition};
use crate::config::{AfterSuccess, Config};
use crate::entropy::{Entropy, draw};
use crate::event::{Event, Step, Subject};
use crate::factor::appended::{Appended, Way};
use crate::factor::mschap::Session;
use crate::factor::{
    BeginAnswer, BeginQuestion, ChangeQuestion, CodeAnswer, CodeQuestion, CodeWanted, Enrolment, FirstFactorAnswer,
    FirstFactorQuestion, NewPassword, Offer, Terms,
};

use crate::identity::{self, Identity};
use crate::limit::wrong_passwords::Guess;
use crate::reason::Reason;
use crate::time::Timestamp;
use stage::Stage;
use std::sync::Arc;
use std::time::Duration;

/// How long one packet may be in progress: shorter than the time after which another packet may take its challenge over,
/// and longer than any NAS waits for an answer that needs no human.
pub const PACKET_DEADLINE: Duration = Duration::from_secs(25);

/// What exchanges are decided under: a whole configuration, never parts of two.
#[derive(Debug)]
pub struct Setting {
    /// The configuration.
    pub config: Arc<Config>,
    /// Seals States.
    pub keyring: Keyring,
    /// This node.
    pub owner: Owner,
    rules: Arc<Rules>,
    /// The same for a packet that brings a code: it answers a challenge for as long as that lives.
    with_code: Arc<Rules>,
    names: identity::Rules,
}

impl Setting {
    /// Of one configuration on one node.
    pub fn new(config: Arc<Config>, keyring: Keyring, owner: Owner) -> Self {
        let (attempts, limits) = (&config.attempts, &config.limits);
        let rules = Rules {
            deadline: attempts.deadline,
            tries: u8::try_from(attempts.tries).unwrap_or(u8::MAX),
            challenge_lifetime: attempts.challenge_lifetime,
            challenge_repeat: attempts.challenge_repeat,
            repeat_window: attempts.repeat_window,
            answer_repeats: attempts.after_success == AfterSuccess::Answer,
            wrong_codes: limits.wrong_codes,
            wrong_codes_window: limits.wrong_codes_window,
            attempts_per_user: limits.attempts_per_user,
            prompts: PromptRules {
                pauses: attempts.prompt_pauses.clone(),
                codes_only_after: attempts.codes_only_after,
                memory: attempts.prompt_memory,
            },
        };
        let names = identity::Rules::from(&config.identity);
        let with_code = Rules { challenge_repeat: rules.challenge_lifetime, ..rules.clone() };
        Self { config, keyring, owner, rules: Arc::new(rules), with_code: Arc::new(with_code), names }
    }
}

impl Setting {
    /// The rules of attempts, for whoever looks at a user's records without an exchange.
    pub fn rules(&self) -> Arc<Rules> {
        self.rules.clone()
    }

    /// The canonical name of a User-Name; `None` if it is no name.
    pub fn canonical(&self, user_name: &[u8]) -> Option<String> {
        self.names.read(user_name).ok().map(|identity| identity.canonical)
    }
}

/// What is fed to an exchange.
#[derive(Debug)]
pub enum Input {
    /// Begin.
    Start,
    /// The first factor answered.
    FirstFactor(FirstFactorAnswer),
    /// The provider said whether the user is enrolled.
    Enrolment(Enrolment),
    /// The store applied a transition, or could not.
    Applied(Result<Outcome, Reason>),
    /// The provider answered the beginning of a prompt.
    Begun(BeginAnswer),
    /// The provider judged a code.
    Code(CodeAnswer),
    /// The first factor set a new password, or did not.
    Changed(Result<(), Reason>),
    /// News of the prompt that the exchange waits for.
    News(News),
    /// The time that was asked for has come.
    Wake,
}

/// News of a prompt. They are hints: what counts is what the store says.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum News {
    /// There is an outcome, or nobody drives the prompt: look into the store.
    Look,
    /// Another node drives the prompt, and there may be an outcome: look into the store.
    Changed,
    /// The node that drives the prompt is dead.
    OwnerDied(Owner),
    /// A code is wanted: ask for it.
    CodeWanted(CodeWanted),
    /// A newer packet waits instead.
    Superseded,
    /// For this reason nobody was prompted, and nothing is left of the attempt.
    NotBegun(Reason),
}

impl Input {
    fn name(&self) -> &'static str {
        match self {
            Self::Start => "Start",
            Self::FirstFactor(_) => "FirstFactor",
            Self::Enrolment(_) => "Enrolment",
            Self::Applied(_) => "Applied",
            Self::Begun(_) => "Begun",
            Self::Code(_) => "Code",
            Self::Changed(_) => "Changed",
            Self::News(_) => "News",
            Self::Wake => "Wake",
        }
    }
}

/// A question to a back end. The edge feeds its answer back.
#[derive(Debug)]
pub enum Question {
    /// To a first factor.
    FirstFactor(FirstFactorQuestion),
    /// Does the user have a second factor here?
    Enrolment {
        /// The configured name of the second factor.
        factor: Arc<str>,
        /// Who.
        user: Arc<Identity>,
    },
    /// Begin a prompt.
    Begin(BeginQuestion),
    /// Judge a code.
    Code(CodeQuestion),
    /// Set a new password.
    Change(ChangeQuestion),
}

/// What the edge is to do.
#[derive(Debug)]
pub enum Effect {
    /// Ask a back end, and feed the answer.
    Ask(Question),
    /// Apply to the store, and feed the outcome.
    Apply(Box<Transition>),
    /// Apply to the store; nobody waits for the outcome.
    Leave(Box<Transition>),
    /// Have this prompt driven; the exchange waits for it.
    Drive(Box<Prompt>),
    /// Wait for the prompt of this attempt, instead of whoever waited before.
    Join {
        /// Which attempt.
        key: AttemptKey,
        /// Its epoch.
        epoch: u64,
        /// Who drives it.
        owner: Owner,
    },
    /// The prompt was answered for by a challenge: its driver may end.
    Answered {
        /// Which attempt.
        key: AttemptKey,
        /// Its epoch.
        epoch: u64,
    },
    /// Feed [`Input::Wake`] then, and not at any time asked for before.
    WakeAt(Timestamp),
    /// Send this; the exchange has ended.
    Reply(Verdict),
    /// Send nothing; the exchange has ended, and the same packet may come again.
    Silence,
    /// Send nothing; the exchange has ended, and the same packet is discarded as if it had been answered.
    Discard,
    /// Tell.
    Emit(Event),
}

/// Kind of a packet, as other nodes are concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Packets {
    /// Beginning of a sign-in.
    Beginning,
    /// Answer under a State of this cluster, which serves once: only nodes that know of each other's replies can repeat one.
    Answer,
    /// Answer under a State that this cluster did not make: every node refuses it by itself, and none hears of it from another. So nobody
    /// writes into the store by guessing.
    Forged,
}

/// An input that the stage does not allow. Nothing was accepted; the edge ends the exchange in silence.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{input} does not fit the stage {stage}")]
pub struct Unexpected {
    /// The stage.
    pub stage: &'static str,
    /// The input.
    pub input: &'static str,
}

/// One packet's exchange. Every stage owns just the data that it needs, and a step consumes it.
#[derive(Debug)]
pub struct Exchange {
    facts: Facts,
    stage: Stage,
    kind: Packets,
}

/// What holds for the whole exchange.
#[derive(Debug)]
struct Facts {
    request: Request,
    setting: Arc<Setting>,
    identity: Arc<Identity>,
    subject: Arc<Subject>,
    key: AttemptKey,
    id: AttemptId,
    begun: Timestamp,
    /// State that the packet brings back; `None` inside: this cluster did not make it.
    state: Option<Option<State>>,
    first_factor: Option<Arc<str>>,
    second_factor: Option<Arc<str>>,
    policy: Option<Arc<str>>,
    protocol: &'static str,
    /// The number of the MS-CHAP exchange, where the packet has one.
    mschap: Option<u8>,
    /// What the proof of this packet earned beside.
    session: Option<Arc<Session>>,
    /// What stood beside the password, until it is used.
    appended: Option<Appended>,
    /// The new password that this packet brings.
    change: Option<NewPassword>,
    held: Option<Held>,
    prompted: bool,
    /// Nobody may prompt the user now: a code is all that can be asked for.
    withheld: bool,
    first_factor_took: Duration,
    second_factor_took: Duration,
}

/// The challenge that this packet has taken, or is taking.
#[derive(Debug)]
struct Held {
    state: StateId,
    /// It waited for a round of the first factor, which nothing else spends.
    round: bool,
    /// The code that it was taken with may have been judged.
    judged: bool,
}

/// What one step has at hand.
struct Turn<'a> {
    now: Timestamp,
    entropy: &'a mut dyn Entropy,
    effects: Vec<Effect>,
}

impl Exchange {
    /// An exchange for `request`; feed it [`Input::Start`].
    pub fn new(mut request: Request, setting: Arc<Setting>, entropy: &mut dyn Entropy) -> Self {
        let state = request.state.take().map(|wire| setting.keyring.open(&wire));
        let kind = match state {
            None => Packets::Beginning,
            Some(Some(_)) => Packets::Answer,
            Some(None) => Packets::Forged,
        };
        // The name is read before anything else, because everything is keyed by it; a bad one is refused at the start.
        let read = setting.names.read(&request.user_name);
        let own = setting.config.health.sign_in.as_ref();
        let (identity, bad) = match read {
            // Its password opens nothing but the node's own sign-in.
            Ok(identity) if !request.synthetic && own.is_some_and(|own| own.is(&identity)) => {
                (identity, request.refusal.or(Some(Reason::SelfSignInElsewhere)))
            }
            Ok(identity) => (identity, request.refusal),
            Err(_) if request.refusal.is_some() => (Identity::nobody(&request.user_name), request.refusal),
            Err(_) if request.user_name.is_empty() => {
                (Identity::nobody(&request.user_name), Some(Reason::MissingUserName))
            }
            Err(reason) => (Identity::nobody(&request.user_name), Some(reason)),
        };
        let key = AttemptKey {
            group: request.client.attempt_group.clone(),
            user: identity.canonical.as_str().into(),
            station: request.station.clone(),
        };
        let subject = Subject {
            client: request.client.name.clone(),
            source: Some(request.source),
            user: identity.given.as_str().into(),
            station: request.station.clone(),
        };
        let protocol = request.offer.as_ref().map_or("none", Offer::protocol);
        let mschap = match &request.offer {
            Some(Offer::MsChap2(proof)) => Some(proof.identifier),
            _ => None,
        };
        let facts = Facts {
            begun: request.received,
            state,
            request,
            setting,
            identity: Arc::new(identity),
            subject: Arc::new(subject),
            key,
            id: AttemptId(draw(entropy)),
            protocol,
            mschap,
            session: None,
            appended: None,
            change: None,
            first_factor: None,
            second_factor: None,
            policy: None,
            held: None,
            prompted: false,
            withheld: false,
            first_factor_took: Duration::ZERO,
            second_factor_took: Duration::ZERO,
        };
        Self { facts, stage: Stage::Fresh { bad }, kind }
    }

    /// The correlation id: the attempt's own as soon as the exchange knows of one that is under way.
    pub fn id(&self) -> AttemptId {
        self.facts.id
    }

    /// Returns what other nodes are to know of the packet before it is looked at.
    pub const fn kind(&self) -> Packets {
        self.kind
    }

    /// The user, and where they sign in.
    pub fn subject(&self) -> &Arc<Subject> {
        &self.facts.subject
    }

    /// Whether nothing more is expected of it.
    pub fn is_over(&self) -> bool {
        matches!(self.stage, Stage::Over)
    }

    /// Takes one input and says what to do. The stage is consumed: an input that it does not allow leaves nothing behind that
    /// could go on.
    ///
    /// # Errors
    ///
    /// The input does not fit the stage; the exchange is over and nothing may be sent for it.
    pub fn step(&mut self, input: Input, now: Timestamp, entropy: &mut dyn Entropy) -> Result<Vec<Effect>, Unexpected> {
        let mut turn = Turn { now, entropy, effects: Vec::with_capacity(4) };
        let stage = std::mem::replace(&mut self.stage, Stage::Over);
        self.stage = stage.step(input, &mut self.facts, &mut turn)?;
        Ok(turn.effects)
    }
}

impl Facts {
    /// Whether a question can be put to the user.
    fn can_ask(&self) -> Result<(), Reason> {
        if !self.request.client.challenge {
            return Err(Reason::ChallengeImpossible);
        }
        // Without a first factor of ours, the packet that begins a sign-in needs no password; what comes back does.
        if matches!(self.protocol, "pap" | "none") { Ok(()) } else { Err(Reason::ProtocolWithoutCode) }
    }

    /// Whether a code can be had: it is here already, or is sent to a user who signs in again with it, or can be asked for.
    fn can_have_code(&self) -> Result<(), Reason> {
        match self.appended.as_ref().map(Appended::way) {
            Some(Way::Code | Way::Sms) => Ok(()),
            Some(Way::Push | Way::Phone) | None => self.can_ask(),
        }
    }

    /// What a prompt of this packet may be, as far as the packet says.
    fn terms(&self) -> Terms {
        let way = self.appended.as_ref().map(Appended::way);
        Terms { code: self.can_have_code().is_ok(), way, ..Terms::default() }
    }

    /// Where the packet's password comes from. The node's own sign-ins are nobody's guesses.
    fn guess(&self) -> Option<Box<Guess>> {
        let AttemptKey { user, group, station } = self.key.clone();
        let (station, source) = (station.map(Into::into), self.request.source.ip());
        (!self.request.synthetic).then(|| Box::new(Guess { user, group, station, source }))
    }

    fn tell(&self, step: Step, turn: &mut Turn<'_>) {
        turn.emit(Event::Step { id: self.id, subject: self.subject.clone(), step });
    }

    fn transition(&self, change: Change) -> Box<Transition> {
        let rules = match self.appended {
            Some(Appended::Code(_)) => self.setting.with_code.clone(),
            Some(Appended::Way(_)) | None => self.setting.rules.clone(),
        };
        Box::new(Transition { key: self.key.clone(), change, rules })
    }
}

impl Turn<'_> {
    fn emit(&mut self, event: Event) {
        self.effects.push(Effect::Emit(event));
    }

    fn ask(&mut self, question: Question) {
        self.effects.push(Effect::Ask(question));
    }

    fn apply(&mut self, transition: Box<Transition>) {
        self.effects.push(Effect::Apply(transition));
    }

    fn leave(&mut self, transition: Box<Transition>) {
        self.effects.push(Effect::Leave(transition));
    }
}

#[cfg(test)]
mod tests;
