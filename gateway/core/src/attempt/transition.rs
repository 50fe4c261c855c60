//! The rules that change the records: one [`Transition`] in, one [`Outcome`] out, atomically. There is no bare get and set,
//! so two nodes cannot interleave between a look and a write.
//!
//! Every record that a transition touches belongs to one user, and so lies in one slot.

use super::holds::{Hold, PromptRules};
use super::record::{AttemptId, AttemptKey, Authorization, Marks, Owner, PacketDigest, Purpose, Settled};
use super::state::StateId;
use crate::factor::{CodeUse, CodeWanted, UsedCodes};
use crate::planted::{self, Fault};
use crate::reason::Reason;
use crate::time::Timestamp;
use std::sync::Arc;
use std::time::Duration;

/// A claim older than this may no longer begin a prompt, by the owner's own clock.
pub const CLAIM_HOLDS: Duration = Duration::from_secs(1);
/// The rules for one attempt, from the configuration that it began with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rules {
    /// How long an attempt may take.
    pub deadline: Duration,
    /// How many wrong codes end it.
    pub tries: u8,
    /// How long a challenge waits for its answer.
    pub challenge_lifetime: Duration,
    /// A repeat of the first leg within this gets the same challenge.
    pub challenge_repeat: Duration,
    /// A new packet within this after a success is a repeat.
    pub repeat_window: Duration,
    /// A repeat after success gets the same verdict instead of silence.
    pub answer_repeats: bool,
    /// Wrong codes of a user within `wrong_codes_window` that refuse every further one.
    pub wrong_codes: u32,
    /// The window of `wrong_codes`.
    pub wrong_codes_window: Duration,
    /// Attempts of one user at once; one more, and the oldest gives way.
    pub attempts_per_user: u16,
    /// How prompts are withheld from users who do not approve them.
    pub prompts: PromptRules,
}

/// What `[attempts]` and `[limits]` say unless somebody says otherwise.
impl Default for Rules {
    fn default() -> Self {
        Self {
            deadline: Duration::from_secs(90),
            tries: 3,
            challenge_lifetime: Duration::from_secs(180),
            challenge_repeat: Duration::from_secs(30),
            repeat_window: Duration::from_secs(10),
            answer_repeats: false,
            wrong_codes: 10,
            wrong_codes_window: Duration::from_secs(900),
            attempts_per_user: 8,
            prompts: PromptRules::default(),
        }
    }
}

/// A challenge to be put into the store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewChallenge {
    /// Its name.
    pub state: StateId,
    /// The State attribute as it will be sent.
    pub wire: Vec<u8>,
    /// What it waits for.
    pub purpose: Purpose,
    /// What the user is asked.
    pub message: Arc<str>,
}

/// One atomic change.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// Whose records.
    pub key: AttemptKey,
    /// What to do with them.
    pub change: Change,
    /// The rules in force for this attempt.
    pub rules: Arc<Rules>,
}

/// The changes there are.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Change {
    /// Begin an attempt, or learn that one is under way. The first factor is proved.
    Claim {
        /// Who wants it.
        owner: Owner,
        /// The correlation id of a new attempt.
        id: AttemptId,
        /// When its first packet was received.
        begun: Timestamp,
        /// The second factor that is to be passed: another one is another attempt.
        factor: Arc<str>,
        /// What a challenge that is out already should now be answered with.
        authorization: Authorization,
        /// The packet that asks.
        packet: PacketDigest,
        /// Its NAS-Port: another one is another session of the user.
        port: Option<u32>,
        /// What else it says of its session.
        marks: Marks,
        /// The factor disturbs a person.
        prompts: bool,
        /// It can ask for a code instead, where prompts are withheld.
        codes: bool,
    },
    /// The claim begins no prompt after all.
    Abandon {
        /// The epoch of the claim.
        epoch: u64,
    },
    /// The user was prompted: save what another node would need to go on.
    Await {
        /// The epoch of the claim.
        epoch: u64,
        /// What the provider wants back with each poll.
        session: Arc<[u8]>,
    },
    /// The provider wants a code instead: keep what to ask for, for the packet that waits, on whichever node.
    Offer {
        /// The epoch of the claim.
        epoch: u64,
        /// What is to be asked for.
        wanted: CodeWanted,
    },
    /// Ask for the outcome of a prompt. Where there is none yet, the packet either goes on waiting or is answered with a challenge
    /// under which a later packet collects: one transition decides which of the two, so that it is never both.
    Collect {
        /// The epoch of the attempt.
        epoch: u64,
        /// The packet that waits.
        packet: PacketDigest,
        /// What it is answered with where there is no outcome yet.
        challenge: Option<NewChallenge>,
    },
    /// The node that drives the prompt is dead: go on with it, for the packet that waits.
    TakeOver {
        /// The epoch under which the dead one drove it.
        epoch: u64,
        /// Who is dead, as the asking node knows it: a pure rule cannot look.
        dead: Owner,
        /// Who goes on.
        owner: Owner,
        /// The packet that waits: only the newest is worth it.
        packet: PacketDigest,
    },
    /// The packet waits no longer; an approval is kept for a repeat.
    Detach {
        /// The packet.
        packet: PacketDigest,
    },
    /// Put a code challenge out for an attempt that this owner claimed.
    Issue {
        /// The epoch of the claim.
        epoch: u64,
        /// The challenge.
        challenge: NewChallenge,
    },
    /// Put a challenge out for another round of the first factor: there is no attempt yet.
    IssueRound {
        /// The correlation id.
        id: AttemptId,
        /// When the first packet was received.
        begun: Timestamp,
        /// The challenge.
        challenge: NewChallenge,
    },
    /// Take a challenge to check an answer to it. A State serves once.
    Take {
        /// Which.
        state: StateId,
        /// The packet that brings the answer.
        packet: PacketDigest,
        /// The RADIUS client that sent it.
        client: Arc<str>,
    },
    /// The answer could not be checked: another packet may try.
    Release {
        /// Which challenge.
        state: StateId,
        /// The packet that took it.
        packet: PacketDigest,
        /// Whether the code may have been judged: it is given back only if it surely was not.
        judged: bool,
    },
    /// The code was wrong and tries are left: spend the State and put a new one out.
    Retry {
        /// The challenge that was taken.
        state: StateId,
        /// The packet that took it.
        packet: PacketDigest,
        /// The next challenge.
        challenge: NewChallenge,
    },
    /// Commit the outcome; whoever speaks sends what was committed.
    Settle {
        /// The epoch of the claim.
        epoch: u64,
        /// The challenge and the packet that took it, where the outcome came by a code.
        taken: Option<(StateId, PacketDigest)>,
        /// The outcome.
        verdict: Settled,
        /// The code that proved it.
        code: Option<CodeUse>,
    },
    /// A first factor answered its round: spend the State.
    FinishRound {
        /// Which challenge.
        state: StateId,
        /// The packet that took it.
        packet: PacketDigest,
    },
    /// Say what holds the user. Of the key only the user counts.
    Look,
    /// Lift what holds the user: an operator says so. Of the key only the user counts.
    Lift,
    /// End every attempt and challenge of the user: the user is locked, or may no longer sign in. Of the key only the user counts.
    End {
        /// Reason that packets that wait are refused with.
        reason: Reason,
    },
}

impl Change {
    /// Whether somebody is answered or disturbed on the strength of this outcome, so that nothing may take it back. Where the
    /// store has replicas, it is believed only when one of them has it; also where nothing was changed, since what was read may
    /// be what another node wrote a moment ago.
    pub fn must_last(&self, outcome: &Outcome) -> bool {
        if planted::is(Fault::OutcomeIsNotAcknowledged) {
            return matches!(self, Self::Claim { prompts: true, .. });
        }
        match (self, outcome) {
            (_, Outcome::Collected { .. } | Outcome::PassedAlready { .. } | Outcome::TakenOver { .. }) => true,
            (Self::Claim { prompts, .. }, Outcome::Claimed { .. } | Outcome::Joined { .. }) => *prompts,
            // A code that counts as used, a wrong one that counts, a challenge under which somebody comes back.
            (Self::Settle { .. } | Self::Retry { .. } | Self::Collect { .. }, Outcome::Done) => true,
            // An operator is told that nothing is open any more.
            (Self::End { .. }, _) => true,
            _ => false,
        }
    }
}

/// What came of a transition.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// The attempt is yours, under this epoch.
    Claimed {
        /// The epoch.
        epoch: u64,
    },
    /// The attempt is yours, and the user must not be prompted: ask for a code.
    ClaimedForCode {
        /// The epoch.
        epoch: u64,
        /// Until when prompts are withheld; `None`: until an operator lifts it.
        until: Option<Timestamp>,
    },
    /// Nobody may prompt the user, and no code can be asked for.
    Withheld {
        /// Until when; `None`: until an operator lifts it.
        until: Option<Timestamp>,
    },
    /// A challenge for this attempt is out already: send it again.
    ChallengedAlready {
        /// The attempt's correlation id.
        id: AttemptId,
        /// The State.
        wire: Vec<u8>,
        /// The question.
        message: Arc<str>,
    },
    /// This user passed a moment ago and the rules answer repeats.
    PassedAlready {
        /// The attempt's correlation id.
        id: AttemptId,
    },
    /// A prompt is under way, and the packet waits for its outcome from now on.
    Joined {
        /// The attempt's correlation id.
        id: AttemptId,
        /// When the attempt began.
        begun: Timestamp,
        /// Its epoch.
        epoch: u64,
        /// Its deadline.
        deadline: Timestamp,
        /// Who drives it.
        owner: Owner,
    },
    /// The prompt is driven by the asking node from now on.
    TakenOver {
        /// The epoch to settle under.
        epoch: u64,
        /// The attempt's correlation id.
        id: AttemptId,
        /// When the attempt began.
        begun: Timestamp,
        /// Its deadline.
        deadline: Timestamp,
        /// What the provider wants back with each poll.
        session: Arc<[u8]>,
    },
    /// The prompt has this outcome, and it is this packet's.
    Collected {
        /// The attempt's correlation id.
        id: AttemptId,
        /// When the attempt began.
        begun: Timestamp,
        /// The outcome.
        verdict: Settled,
    },
    /// A code is wanted, from this packet.
    Offered(CodeWanted),
    /// There is no outcome yet.
    Pending {
        /// Who drives the prompt.
        owner: Owner,
    },
    /// The outcome of a prompt is in the store, committed for this packet.
    Committed {
        /// `None`: no packet waits for it.
        to: Option<PacketDigest>,
    },
    /// What holds the user, or held it until it was lifted.
    Holds(Vec<Hold>),
    /// So many attempts and challenges of the user were ended.
    Ended(usize),
    /// The change is in the store.
    Done,
    /// The challenge is yours to check.
    Taken(Box<Taken>),
    /// Refused: answer with a reject.
    Refused(Reason),
    /// Not to be answered at all.
    Discarded(Reason),
}

/// A challenge, taken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Taken {
    /// The attempt, whose station the packet may have left out.
    pub key: AttemptKey,
    /// The attempt's correlation id.
    pub id: AttemptId,
    /// When the attempt began.
    pub begun: Timestamp,
    /// The epoch to settle under.
    pub epoch: u64,
    /// What the challenge waited for.
    pub purpose: Purpose,
    /// When the attempt ends.
    pub deadline: Timestamp,
    /// Whether a wrong code may be followed by another.
    pub last_try: bool,
    /// What is remembered of the user's codes.
    pub used: UsedCodes,
}

/// An attempt that ended because nobody answered, or nobody came back for the outcome.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Unanswered {
    /// Which of the two.
    pub reason: Reason,
    /// Its key.
    pub key: AttemptKey,
    /// Its correlation id.
    pub id: AttemptId,
    /// When it began.
    pub begun: Timestamp,
}

#[cfg(test)]
mod patience_tests;
#[cfg(test)]
mod prompt_tests;
#[cfg(test)]
mod tests;
