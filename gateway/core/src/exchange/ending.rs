//! How an exchange ends: with a reply or in silence, told either way.

use super::stage::Stage;
use super::verdict::{self, Verdict};
use super::{Effect, Facts, Held, Question, Turn};
use crate::attempt::transition::Change;
use crate::event::{Ending, Event, Finished, Step};
use crate::factor::ChangeQuestion;
use crate::factor::mschap::{MsChap2, Session};
use crate::radius::{Attributes, LONGEST_PACKET};
use crate::reason::Reason;
use std::sync::Arc;

impl Facts {
    /// Ends the exchange with a reply or in silence, and tells.
    pub(super) fn finish(
        &mut self,
        ending: Ending,
        reason: Option<Reason>,
        verdict: Option<Verdict>,
        turn: &mut Turn<'_>,
    ) -> Stage {
        let finished = Finished {
            id: self.id,
            client: self.request.client.name.clone(),
            source: self.request.source,
            user: self.subject.user.clone(),
            station: self.request.station.clone(),
            first_factor: self.first_factor.clone(),
            policy: self.policy.clone(),
            second_factor: self.second_factor.clone(),
            prompted: self.prompted,
            ending,
            reason,
            received: self.request.received,
            first_factor_took: self.first_factor_took,
            second_factor_took: self.second_factor_took,
            since_begun: turn.now.since(self.begun),
            took: turn.now.since(self.request.received),
        };
        // A State serves once, but silence gives it back: the same packet comes again. Nobody needs to wait for either, and
        // where another packet holds the challenge by now, or it is spent, nothing happens.
        if let Some(Held { state, round, judged }) = self.held.take() {
            let packet = self.request.digest;
            match verdict {
                None => turn.leave(self.transition(Change::Release { state, packet, judged })),
                Some(_) if round => turn.leave(self.transition(Change::FinishRound { state, packet })),
                Some(_) => {}
            }
        }
        // The outcome is not for a packet that is not answered: a repeat gets it. One that was superseded has lost it already, and
        // what superseded it may be the same packet by way of another port.
        if self.prompted && verdict.is_none() && reason != Some(Reason::Superseded) {
            turn.leave(self.transition(Change::Detach { packet: self.request.digest }));
        }
        turn.effects.push(match verdict {
            Some(verdict) => Effect::Reply(verdict),
            // A newer packet gets the outcome: the NAS does not listen for an answer to this one.
            None if reason == Some(Reason::Superseded) && self.prompted => Effect::Discard,
            None => Effect::Silence,
        });
        turn.emit(Event::Finished(Box::new(finished)));
        Stage::Over
    }

    pub(super) fn reject(&mut self, reason: Reason, attributes: Attributes, turn: &mut Turn<'_>) -> Stage {
        if reason.is_lack() {
            return self.silence(reason, turn);
        }
        let attempts = &self.setting.config.attempts;
        let verdict = verdict::reject(attempts.reject_message(reason), attributes);
        // Counted from the packet, so that the time of a refusal does not tell how it was found.
        let mut verdict = verdict.not_before(self.request.received.after(attempts.reject_delay));
        if let Some(identifier) = self.mschap {
            let (code, retry) = mschap_error(reason);
            // A new challenge that nobody could know before the packet, and that every node gives the same packet.
            let challenge = &self.request.digest.0;
            let value = MsChap2::error(identifier, code, retry, challenge, attempts.reject_message(reason));
            verdict = verdict.with_error(&value);
        }
        self.finish(Ending::Reject, Some(reason), Some(verdict), turn)
    }

    pub(super) fn refuse(&mut self, reason: Reason, turn: &mut Turn<'_>) -> Stage {
        self.reject(reason, Attributes::default(), turn)
    }

    pub(super) fn silence(&mut self, reason: Reason, turn: &mut Turn<'_>) -> Stage {
        self.finish(Ending::Silence, Some(reason), None, turn)
    }

    pub(super) fn accept(&mut self, verdict: Result<Verdict, Reason>, turn: &mut Turn<'_>) -> Stage {
        match verdict {
            // Better refused with a reason than accepted into a void: a packet that is too long is never sent.
            Ok(verdict) if !self.fits(&verdict) => self.refuse(Reason::ReplyTooLong, turn),
            Ok(verdict) => {
                let verdict = verdict.with_session(self.session.take());
                match (self.change.take(), self.first_factor.clone()) {
                    (Some(password), Some(factor)) => {
                        let (client, user) = (self.request.client.name.clone(), self.identity.clone());
                        turn.ask(Question::Change(ChangeQuestion { factor: factor.clone(), client, user, password }));
                        Stage::Changing { factor, verdict }
                    }
                    _ => self.finish(Ending::Accept, None, Some(verdict), turn),
                }
            }
            Err(reason) => self.refuse(reason, turn),
        }
    }

    /// The last step of a sign-in that brought a new password: an accept says that it is set.
    pub(super) fn changed(
        &mut self,
        factor: Arc<str>,
        verdict: Verdict,
        changed: Result<(), Reason>,
        turn: &mut Turn<'_>,
    ) -> Stage {
        self.tell(Step::PasswordChange { factor, failure: changed.err() }, turn);
        match changed {
            Ok(()) => self.finish(Ending::Accept, None, Some(verdict), turn),
            Err(reason) => self.refuse(reason, turn),
        }
    }

    /// Whether a packet has room for it, with Message-Authenticator and the Proxy-State of the request.
    fn fits(&self, verdict: &Verdict) -> bool {
        const FRAME: usize = 20 + 18;
        let session = self.session.as_ref().map_or(0, |_| Session::LENGTH);
        FRAME + session + verdict.attributes().as_bytes().len() + self.request.proxy_state <= LONGEST_PACKET
    }

    pub(super) fn challenge(
        &mut self,
        wire: &[u8],
        message: &str,
        factor: Arc<str>,
        again: bool,
        turn: &mut Turn<'_>,
    ) -> Stage {
        self.tell(Step::Challenged { factor, again }, turn);
        self.finish(Ending::Challenge, None, Some(verdict::challenge(wire, message)), turn)
    }
}

/// What MS-CHAP calls a reason (RFC 2433 §A.3), and whether the client may ask for another password. Whatever else is wrong looks
/// like a wrong password: it is nobody's business that the password was right.
fn mschap_error(reason: Reason) -> (u16, bool) {
    match reason {
        Reason::OutsideLogonHours => (646, false),
        Reason::UserDisabled | Reason::UserLocked => (647, false),
        Reason::PasswordExpired => (648, false),
        Reason::PasswordNotChanged => (709, false),
        _ => (691, true),
    }
}
