//! The records that nodes share: the attempt, its challenge, and what is remembered of a user. Plain data; the rules that
//! change them are in [`super::transition`].

use super::state::StateId;
use crate::reason::Reason;
use crate::time::Timestamp;
use serde::{Deserialize, Serialize};
use std::sync::Arc;

/// Who drives an attempt: a node in one of its lives.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize, Hash)]
pub struct Owner {
    /// The configured node id.
    pub node: Arc<str>,
    /// Drawn at each start.
    pub incarnation: u64,
}

/// Names an attempt in logs, traces and calls.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AttemptId(pub [u8; 16]);

impl std::fmt::Display for AttemptId {
    /// As a UUID, which is what logs and clouds expect of a correlation id.
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        for (at, octet) in self.0.iter().enumerate() {
            if matches!(at, 4 | 6 | 8 | 10) {
                f.write_str("-")?;
            }
            write!(f, "{octet:02x}")?;
        }
        Ok(())
    }
}

/// What makes two packets the same attempt.
#[derive(Clone, Debug, PartialEq, Eq, Hash, PartialOrd, Ord, Serialize, Deserialize)]
pub struct AttemptKey {
    /// The RADIUS client entry, or its `attempt_group`.
    pub group: Arc<str>,
    /// The canonical user.
    pub user: Arc<str>,
    /// Calling-Station-Id, where the NAS sends one.
    pub station: Option<Box<[u8]>>,
}

/// One person's one try to pass the second factor.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Attempt {
    /// Grows with each owner and each new beginning: a write with an old one fails.
    pub epoch: u64,
    /// Who drives it.
    pub owner: Owner,
    /// Its correlation id.
    pub id: AttemptId,
    /// When its first packet was received.
    pub begun: Timestamp,
    /// When it was claimed.
    pub claimed: Timestamp,
    /// It disturbs a person (a push, a call, a message): nobody may prompt this user beside it, and its claim does not lapse.
    pub prompts: bool,
    /// NAS-Port of its first packet, where the NAS sends one.
    pub port: Option<u32>,
    /// The packet that will get the outcome: the newest that waits for it.
    pub waiting: Option<PacketDigest>,
    /// The State under which a later packet may collect the outcome.
    pub collector: Option<StateId>,
    /// The second factor that it is to pass.
    pub factor: Arc<str>,
    /// When it ends undecided.
    pub deadline: Timestamp,
    /// Where it stands.
    pub phase: Phase,
    /// Wrong codes so far.
    pub wrong: u8,
    /// When the record may be forgotten.
    pub expires: Timestamp,
    /// What tells its session from others of the user. Since version 2 of records.
    #[serde(skip)]
    pub marks: Marks,
}

/// What a packet says of its session beside NAS-Port, each as a digest: two that both say something, and not the same, are of
/// two sessions.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Marks(pub Vec<(u8, [u8; 8])>);

/// Where an attempt stands.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Phase {
    /// Claimed; nothing went out to the user yet, or a provider is asked to that answers when the user has.
    Begun,
    /// The user was prompted and has not answered.
    Waiting {
        /// What the provider wants back with each poll: another node could go on with it.
        session: Arc<[u8]>,
    },
    /// A challenge is out.
    Challenged {
        /// Under this State.
        state: StateId,
        /// When it was first sent.
        since: Timestamp,
    },
    /// Decided.
    Settled {
        /// How.
        verdict: Settled,
        /// When.
        at: Timestamp,
        /// The one packet that it was committed for; `None`: nobody waited, and nobody has collected it yet.
        to: Option<PacketDigest>,
    },
    /// The provider wants a code: whoever waits is to ask for it.
    Offered {
        /// What the provider wants back.
        session: Vec<u8>,
        /// What the user is to be asked, where the provider says.
        prompt: Option<String>,
    },
}

/// The outcome of a second factor, as committed.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Settled {
    /// The factor was proved.
    Passed,
    /// It was not.
    Failed(Reason),
}

/// What the first leg earned and the last leg is answered with: the accept after a code carries the same attributes as one
/// without a second factor would.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Authorization {
    /// The first factor that was passed; `None` where the client has none.
    pub first_factor: Option<Arc<str>>,
    /// The policy that permitted.
    pub policy: Arc<str>,
    /// Its reply attributes, encoded.
    pub reply: Arc<[u8]>,
    /// What the cloud knows the user as: the directory may have told a better name than the identity's own.
    pub upn: Arc<str>,
}

/// What a challenge waits for.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Purpose {
    /// A code for a second factor.
    Code {
        /// The configured name of the second factor.
        factor: Arc<str>,
        /// What the provider wants back.
        session: Vec<u8>,
        /// What the accept will carry.
        authorization: Authorization,
    },
    /// The outcome of a prompt that takes longer than the NAS waits.
    Collect {
        /// The epoch of the attempt.
        epoch: u64,
        /// The RADIUS client that it was sent to: no other may collect, not even of the same group.
        client: Arc<str>,
        /// The configured name of the second factor.
        factor: Arc<str>,
        /// What the accept will carry.
        authorization: Authorization,
    },
    /// Another round of a first factor.
    Round {
        /// The configured name of the first factor.
        factor: Arc<str>,
        /// What the back end wants back.
        session: Vec<u8>,
    },
}

/// Who looks at the answer to a challenge.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Progress {
    /// Nobody yet.
    Issued,
    /// One packet's exchange.
    Checking {
        /// Which packet.
        packet: PacketDigest,
        /// Since when; long ago means that its exchange died.
        since: Timestamp,
    },
}

/// Names one packet: a digest over where it came from and all its octets.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub struct PacketDigest(pub [u8; 16]);

/// What is out under one State.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Challenge {
    /// Whose it is: only packets with the same key may answer.
    pub key: AttemptKey,
    /// The attempt's correlation id.
    pub id: AttemptId,
    /// When the attempt began.
    pub begun: Timestamp,
    /// The epoch it was issued under.
    pub epoch: u64,
    /// What it waits for.
    pub purpose: Purpose,
    /// Who looks at it.
    pub progress: Progress,
    /// The State as sent, so that a repeat gets the same octets.
    pub wire: Vec<u8>,
    /// What the user was asked.
    pub message: Arc<str>,
    /// When an answer is too late.
    pub expires: Timestamp,
}

/// What is remembered of one user across attempts.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct UserRecord {
    /// Codes that were taken to be judged in the window, but for those that were right or surely never judged.
    pub wrong_codes: u32,
    /// When the window began.
    pub window_began: Timestamp,
    /// The attempt that prompts the user now. One at a time.
    pub prompted_by: Option<AttemptKey>,
    /// For each token: the lowest moving factor that it may still use, and when that may be forgotten.
    pub used: Vec<([u8; 16], u64, Option<Timestamp>)>,
    /// Prompts that the user did not approve. Since version 2 of records.
    #[serde(skip)]
    pub prompts: Prompts,
    /// States that have served or were burnt, the newest last.
    #[serde(skip)]
    pub spent: Vec<Spent>,
    /// How many attempts and challenges of the user there are: counted, never written.
    #[serde(skip)]
    pub open: Open,
}

/// Prompts that a user did not approve.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Prompts {
    /// Denied or unanswered, one after another.
    pub refused: u32,
    /// When the last of them ended.
    pub last: Timestamp,
    /// When they are forgotten.
    pub forget: Timestamp,
    /// Since when there are no prompts until an operator lifts that: the user reported a sign-in as fraud.
    pub reported: Option<Timestamp>,
}

/// A State that has served, or was burnt before it could.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Spent {
    /// Its name.
    pub state: StateId,
    /// Until when that is remembered.
    pub until: Timestamp,
    /// It was burnt because the user began too many sign-ins.
    pub burnt: bool,
}

/// How many records of a user there are.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Open {
    /// Attempts.
    pub attempts: u16,
    /// Challenges.
    pub challenges: u16,
}
