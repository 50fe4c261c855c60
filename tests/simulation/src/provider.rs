//! The back ends, and the people: who knows the password, whose phone rings, what they tap.

use crate::check::PromptFact;
use crate::event::Event;
use crate::setup::PASSWORD;
use crate::store::user_of;
use crate::world::World;
use gateway_core::attempt::driver::{self, Prompt};
use gateway_core::exchange::{Input, Question};
use gateway_core::factor::oath::{self, Token};
use gateway_core::factor::{
    Approval, BeginAnswer, BeginQuestion, CodeAnswer, CodeQuestion, CodeWanted, Enrolment, FirstFactorAnswer, Offer,
    PollAnswer, Proved,
};
use gateway_core::reason::Reason;
use gateway_core::time::Timestamp;
use std::time::Duration;

/// How long a phone rings.
const RINGS_FOR: Duration = Duration::from_secs(60);
/// The user who has no token.
const WITHOUT_TOKEN: usize = 3;

/// Whether the user has a token.
pub(crate) fn has_token(user: usize) -> bool {
    user != WITHOUT_TOKEN
}

/// What the text of a code looks like.
pub(crate) fn code_of(token: &Token, step: u64) -> String {
    format!("{:06}", token.code(step).unwrap_or(0))
}

/// The code that the provider sent for this prompt.
pub(crate) fn cloud_code(prompt: usize) -> String {
    format!("{:08}", 70_000_000 + prompt)
}

fn number(session: &[u8]) -> Option<usize> {
    std::str::from_utf8(session).ok()?.strip_prefix("prompt ")?.parse().ok()
}

impl World<'_> {
    /// A question of an exchange.
    pub(crate) fn ask(&mut self, n: usize, r: usize, packet: usize, question: Question) {
        let clock = self.nodes[n].clock(self.now);
        let fails = self.plan.loss > 0 && self.random.chance(15);
        let (at, answer) = match question {
            Question::FirstFactor(asked) => {
                let right = matches!(&asked.offer, Offer::Pap(secret) if secret.expose() == PASSWORD.as_bytes());
                let answer = if fails {
                    FirstFactorAnswer::Unavailable(Reason::FirstFactorUnavailable)
                } else if right {
                    FirstFactorAnswer::Proved(Proved::default())
                } else {
                    FirstFactorAnswer::Refused(Reason::WrongPassword)
                };
                (self.later(1, 250), Input::FirstFactor(answer))
            }
            Question::Enrolment { factor, .. } => {
                let enrolled = &*factor == "phone" || has_token(self.packets[packet].user);
                let answer = if enrolled { Enrolment::Enrolled } else { Enrolment::NotEnrolled };
                (self.now, Input::Enrolment(answer))
            }
            // Nobody here brings a new password.
            Question::Change(_) => (self.now, Input::Changed(Err(Reason::PasswordNotChanged))),
            Question::Begin(_) => (self.now, Input::Begun(BeginAnswer::CodeWanted(CodeWanted::default()))),
            Question::Code(asked) if &*asked.factor == "phone" => {
                (self.provider_takes(), Input::Code(self.judge(&asked)))
            }
            Question::Code(asked) => {
                let token = std::slice::from_ref(&self.setup.tokens[self.packets[packet].user]);
                let typed = std::str::from_utf8(asked.code.expose()).unwrap_or_default();
                let answer = oath::check(token, typed, &asked.used, 1, 1, clock);
                if matches!(answer, CodeAnswer::Wrong(_)) {
                    self.check_guess(self.packets[packet].user);
                }
                (self.now, Input::Code(answer))
            }
        };
        let life = self.nodes[n].life;
        self.at(at, Event::Exchange { node: n, life, run: r, input: Box::new(answer) });
    }

    /// The provider looks at a code that it sent.
    fn judge(&mut self, asked: &CodeQuestion) -> CodeAnswer {
        let Some(prompt) = number(&asked.session) else { return CodeAnswer::Ended(Reason::SessionExpired) };
        let fact = &mut self.prompts[prompt];
        if fact.consumed {
            return CodeAnswer::Ended(Reason::SessionExpired);
        }
        if asked.code.expose() != cloud_code(prompt).as_bytes() {
            return CodeAnswer::Wrong(Reason::WrongCode);
        }
        fact.consumed = true;
        CodeAnswer::Right(None)
    }

    pub(crate) fn provider_takes(&mut self) -> Timestamp {
        let slow = self.random.chance(30);
        if slow { self.later(500, 4_000) } else { self.later(20, 400) }
    }

    /// A driver asks to prompt.
    pub(crate) fn begin(&mut self, n: usize, d: usize, prompt: &Prompt, question: &BeginQuestion) {
        let life = self.nodes[n].life;
        let at = self.provider_takes();
        if self.plan.loss > 0 && self.random.chance(20) {
            // Either way nobody was asked; the one refuses the user, the other must not.
            let lacks = question.id.0.first().is_some_and(|octet| octet % 2 == 0);
            let reason = if lacks { Reason::NodeExhausted } else { Reason::SecondFactorUnavailable };
            let answer = BeginAnswer::Unavailable(reason);
            return self.answer_driver(at, (n, life, d), driver::Input::Begun(answer));
        }
        let code = question.terms.code && self.random.chance(100);
        let p = self.prompts.len();
        let mut fact = PromptFact::new(prompt, user_of(&prompt.key.user), (n, life, d), self.now, code);
        self.check_begin(&mut fact);
        let deadline = fact.deadline;
        self.prompts.push(fact);
        if self.late_owners > 0 && self.random.chance(200) {
            self.late_owners -= 1;
            let before = Duration::from_millis(self.random.range(0, 6_000));
            self.at(deadline.before(before).max(self.now), Event::Pause { node: n, long: true });
        }
        if code {
            let session = format!("prompt {p}").into_bytes();
            let wanted =
                BeginAnswer::CodeWanted(CodeWanted { session, prompt: Some("The code that we sent you:".into()) });
            return self.answer_driver(at, (n, life, d), driver::Input::Begun(wanted));
        }
        self.figures.prompts += 1;
        self.at(at, Event::Rings { prompt: p });
    }

    fn answer_driver(&mut self, at: Timestamp, (node, life, driver): (usize, u32, usize), input: driver::Input) {
        self.at(at, Event::Driver { node, life, driver, input: Box::new(input) });
    }

    /// The phone rings.
    pub(crate) fn rings(&mut self, p: usize) {
        let user = self.prompts[p].user;
        self.trace(|| format!("the phone of u{user} rings: prompt {p}"));
        if self.plan.rides
            && let Some((nas, device)) = self.prompts[p].session()
        {
            self.ride(nas, user, device);
        }
        let wanted = self.sign_ins.iter().any(|sign_in| sign_in.user == user && sign_in.is_under_way());
        let kind = self.random.below(100);
        let (approves, at) = match (wanted, kind) {
            (true, 0..60) => (true, Some(self.later(1_000, 25_000))),
            (true, 60..67) => (true, Some(self.later(0, 300))),
            (true, 67..75) => (true, Some(self.later(30_000, 70_000))),
            (true, 75..83) => (false, Some(self.later(1_000, 20_000))),
            (true, _) => (false, None),
            (false, 0..20) => (true, Some(self.later(1_000, 20_000))),
            (false, 20..60) => (false, Some(self.later(1_000, 20_000))),
            (false, _) => (false, None),
        };
        self.prompts[p].approves = approves;
        if let Some(at) = at {
            self.at(at, Event::Taps { prompt: p });
        }
        let ends = self.now.after(RINGS_FOR);
        self.at(ends, Event::GivesUp { prompt: p });
        let PromptFact { home, .. } = self.prompts[p];
        if !self.plan.held {
            let at = self.provider_takes();
            let session = format!("prompt {p}").into_bytes().into();
            self.answer_driver(at, home, driver::Input::Begun(BeginAnswer::Waiting { session }));
        }
    }

    /// The user taps.
    pub(crate) fn taps(&mut self, p: usize) {
        if self.prompts[p].silent {
            return;
        }
        let approves = self.prompts[p].approves;
        self.trace(|| format!("prompt {p}: {}", if approves { "approved" } else { "denied" }));
        self.prompts[p].answered = Some(self.now);
        if approves {
            self.figures.approvals += 1;
        }
        if self.plan.held {
            let answer = if approves {
                BeginAnswer::Approved(Approval::User)
            } else {
                BeginAnswer::Denied(Reason::PromptDenied)
            };
            let (at, home) = (self.provider_takes(), self.prompts[p].home);
            self.answer_driver(at, home, driver::Input::Begun(answer));
        }
    }

    /// It stops ringing.
    pub(crate) fn gives_up(&mut self, p: usize) {
        self.prompts[p].silent = true;
        if self.prompts[p].answered.is_none() && self.plan.held {
            let (at, home) = (self.provider_takes(), self.prompts[p].home);
            self.answer_driver(at, home, driver::Input::Begun(BeginAnswer::Denied(Reason::ProviderNoResponse)));
        }
    }

    /// What became of it? An answer is given once.
    pub(crate) fn polled(&mut self, n: usize, life: u32, d: usize, session: &[u8]) {
        let Some(p) = number(session) else { return };
        let unsure = self.plan.loss > 0 && self.random.chance(20);
        let at = self.provider_takes();
        let fact = &mut self.prompts[p];
        let answer = match fact.answered {
            _ if unsure => PollAnswer::Unavailable(Reason::SecondFactorUnavailable),
            _ if fact.consumed => PollAnswer::Denied(Reason::SessionExpired),
            Some(_) => {
                fact.consumed = true;
                fact.heard_by = Some((n, life));
                if fact.approves { PollAnswer::Approved } else { PollAnswer::Denied(Reason::PromptDenied) }
            }
            None if fact.silent => PollAnswer::Denied(Reason::ProviderNoResponse),
            None => PollAnswer::Waiting,
        };
        self.answer_driver(at, (n, life, d), driver::Input::Polled(answer));
    }
}
