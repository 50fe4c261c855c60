//! Between exchanges and back ends: a password is looked at unless too many were wrong. The rules are in
//! [`gateway_core::limit::wrong_passwords`]; here are the lock around them and the way of a question through them.

pub mod sharer;

use crate::backends::Answer;
use crate::clock;
use crate::node::{Active, Node};
use gateway_core::attempt::record::AttemptId;
use gateway_core::event::Event;
use gateway_core::exchange::{Input, Question};
use gateway_core::factor::FirstFactorAnswer;
use gateway_core::limit::wrong_passwords::{Barred, Guess, Reserved, Rules, WrongPasswords};
use gateway_core::reason::Reason;
use gateway_core::time::Timestamp;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The wrong passwords of this node, and what it has heard of others.
pub struct Guesses(Mutex<WrongPasswords>);

impl Guesses {
    /// None yet. `shared`: other nodes are to be told.
    pub fn new(shared: bool) -> Self {
        Self(Mutex::new(WrongPasswords::new(shared)))
    }

    /// What is known, while nobody else looks at it.
    pub fn lock(&self) -> MutexGuard<'_, WrongPasswords> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Node {
    /// Asks a back end on behalf of an attempt. While passwords from there pause, the answer is a refusal, and no back end is asked.
    pub fn ask(self: &Arc<Self>, active: &Active, question: Question, id: AttemptId, now: Timestamp) -> Answer<Input> {
        let guess = match &question {
            Question::FirstFactor(question) => question.guess.clone(),
            _ => None,
        };
        let Some(guess) = guess else { return active.backends.ask(question, now) };
        let brake = Brake { node: self.clone(), rules: Rules::from(&active.setting.config.limits), id };
        let admitted = self.guesses.lock().admits(&guess, &brake.rules, now);
        if let Err(barred) = admitted {
            return Answer::Now(brake.refuse(&barred));
        }
        match active.backends.ask(question, now) {
            Answer::Now(input) => Answer::Now(brake.judge(&guess, input, now)),
            // Before its turn comes nothing was looked at, and dropping the answer gives the question up.
            Answer::Later(answer) => match brake.hold(&guess, now) {
                Ok(held) => Answer::Later(Box::pin(async move {
                    let input = answer.await;
                    held.end(input, clock::now())
                })),
                Err(barred) => Answer::Now(barred),
            },
        }
    }

    /// Forgets wrong passwords that no longer matter, and tells which were forgotten too soon.
    pub(crate) fn sweep_guesses(&self, now: Timestamp) {
        let (evicted, lost) = {
            let mut guesses = self.guesses.lock();
            guesses.sweep(now);
            (guesses.take_evicted(), guesses.take_lost())
        };
        let hits = &self.observer.metrics.limit_hits;
        hits.with_label_values(&["wrong_passwords_kept"]).inc_by(evicted);
        if lost > 0 {
            tracing::warn!(lost, "other nodes do not hear of so many wrong passwords: too many waited to be told");
        }
    }
}

/// What the brake makes of the answers to one question.
struct Brake {
    node: Arc<Node>,
    rules: Rules,
    id: AttemptId,
}

impl Brake {
    /// The answer to a password that is not looked at. It looks like that to a wrong one.
    fn refuse(&self, barred: &Barred) -> Input {
        let (limit, answer) = match barred {
            Barred::Paused(pause) => (pause.scope.limit(), FirstFactorAnswer::Refused(Reason::PasswordPaused)),
            // The same packet comes again, when the others are judged.
            Barred::Busy => ("wrong_passwords", FirstFactorAnswer::Unavailable(Reason::PasswordsInParallel)),
        };
        self.node.observer.metrics.limit_hits.with_label_values(&[limit]).inc();
        Input::FirstFactor(answer)
    }

    fn hold(self, guess: &Guess, now: Timestamp) -> Result<Held, Input> {
        let reserved = self.node.guesses.lock().reserve(guess, &self.rules, now);
        match reserved {
            Ok(reserved) => Ok(Held { brake: self, reserved: Some(reserved) }),
            Err(barred) => Err(self.refuse(&barred)),
        }
    }

    /// Counts an answer. One that came although a pause has begun meanwhile counts for nothing, right or wrong.
    fn judge(&self, guess: &Guess, input: Input, now: Timestamp) -> Input {
        let Input::FirstFactor(answer) = &input else { return input };
        // Somebody may have been locked while the password was looked at.
        if self.node.locks.is_locked(&guess.user) {
            return Input::FirstFactor(FirstFactorAnswer::Refused(Reason::LockedByOperator));
        }
        let Some(right) = answer.judges() else { return input };
        let mut guesses = self.node.guesses.lock();
        if let Err(barred) = guesses.admits(guess, &self.rules, now) {
            drop(guesses);
            return self.refuse(&barred);
        }
        if right {
            guesses.proved(guess, &self.rules, now);
            return input;
        }
        let begun = guesses.failed(guess, &self.rules, now);
        drop(guesses);
        if let Some(pause) = begun {
            let event = Event::PasswordsPaused { id: self.id, guess: Box::new(guess.clone()), pause: Box::new(pause) };
            self.node.observer.observe(event, now);
        }
        input
    }
}

/// A password that is being looked at.
struct Held {
    brake: Brake,
    /// `None` once it was given back.
    reserved: Option<Reserved>,
}

impl Held {
    fn end(mut self, input: Input, now: Timestamp) -> Input {
        let Some(reserved) = self.reserved.take() else { return input };
        self.brake.node.guesses.lock().release(&reserved);
        self.brake.judge(reserved.guess(), input, now)
    }
}

impl Drop for Held {
    /// Nobody hears the answer: what was guessed is not known.
    fn drop(&mut self) {
        if let Some(reserved) = self.reserved.take() {
            self.brake.node.guesses.lock().release(&reserved);
        }
    }
}
