//! First and second factors as questions and answers. Who asks is the exchange; who answers is a back end at the edge, or
//! for local tokens the arithmetic here. Nothing in here does I/O.

pub mod appended;
pub mod base32;
pub mod chap;
pub mod entra;
mod entries;
pub mod mschap;
pub mod oath;
pub mod tokens;
pub mod users;

use crate::attempt::record::AttemptId;
use crate::config::{PushUsers, Unregistered};
use crate::identity::Identity;
use crate::limit::wrong_passwords::Guess;
use crate::reason::Reason;
use crate::secret::Secret;
use crate::time::Timestamp;
use appended::Way;
use chap::Chap;
use mschap::{MsChap2, NtHash};
use std::collections::BTreeMap;
use std::sync::Arc;

/// What one packet offers as its first-factor proof.
#[derive(Debug)]
pub enum Offer {
    /// PAP: the password itself (RFC 2865 §5.2).
    Pap(Secret),
    /// CHAP: a response to a challenge (RFC 2865 §5.3).
    Chap(Box<Chap>),
    /// MS-CHAPv2: the same, and a new password at times (RFC 2548 §2.3).
    MsChap2(Box<MsChap2>),
}

impl Offer {
    /// What policies and logs call the protocol.
    pub const fn protocol(&self) -> &'static str {
        match self {
            Self::Pap(_) => "pap",
            Self::Chap(_) => "chap",
            Self::MsChap2(_) => "mschapv2",
        }
    }
}

/// A question to a first factor. `session` is what an earlier `NeedMore` of the same back end left behind.
#[derive(Debug)]
pub struct FirstFactorQuestion {
    /// The configured name of the first factor.
    pub factor: Arc<str>,
    /// Who signs in.
    pub user: Arc<Identity>,
    /// The RADIUS client that asks: what clients share is shared out fairly.
    pub client: Arc<str>,
    /// Where the password comes from, for the brake on guesses; `None`: nobody outside has sent it.
    pub guess: Option<Box<Guess>>,
    /// What the packet proves it with.
    pub offer: Offer,
    /// What the back end remembered from the round before, if there was one.
    pub session: Option<Vec<u8>>,
}

/// What a first factor answers. Multi-round from the start, so that EAP, password change and an upstream's challenge fit.
#[derive(Debug, PartialEq, Eq)]
pub enum FirstFactorAnswer {
    /// The proof holds.
    Proved(Proved),
    /// The proof does not hold.
    Refused(Reason),
    /// Nobody knows: the request stays unanswered, so that the NAS asks again or elsewhere.
    Unavailable(Reason),
    /// The back end wants another round.
    NeedMore(NeedMore),
}

impl FirstFactorAnswer {
    /// Whether the password was right. `None`: it was right and does not serve, or was not looked at.
    pub const fn judges(&self) -> Option<bool> {
        match self {
            Self::Proved(_) => Some(true),
            Self::Refused(
                Reason::EmptyPassword
                | Reason::UserDisabled
                | Reason::UserLocked
                | Reason::PasswordExpired
                | Reason::OutsideLogonHours
                | Reason::PasswordNotChanged,
            )
            | Self::Unavailable(_)
            | Self::NeedMore(_) => None,
            Self::Refused(_) => Some(false),
        }
    }
}

/// What a first factor knows of a user who passed it.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Proved {
    /// Names of the groups that the user is in, as policies spell them.
    pub groups: Vec<String>,
    /// The UPN, where the directory knows a better one than the identity's own.
    pub upn: Option<String>,
    /// What else it knows of the user, for the replies of policies.
    pub data: Data,
    /// What the reply to this very packet must carry beside.
    pub session: Option<Arc<mschap::Session>>,
    /// The user has brought a new password, which is to be set when everything else is passed.
    pub change: Option<NewPassword>,
}

/// A new password, and what it takes the place of.
#[derive(Debug, PartialEq, Eq)]
pub struct NewPassword {
    /// What must still be the old one when it is set: whoever resets a password meanwhile has the last word.
    pub old: NtHash,
    /// The new one.
    pub new: Secret,
}

/// A question to a first factor: set a password.
#[derive(Debug)]
pub struct ChangeQuestion {
    /// The configured name of the first factor.
    pub factor: Arc<str>,
    /// The RADIUS client that it came by: clients take turns.
    pub client: Arc<str>,
    /// Whose.
    pub user: Arc<Identity>,
    /// Which.
    pub password: NewPassword,
}

/// What a first factor knows of a user beside names: `department = "sales"`. Mostly nothing, and shared where there is
/// something.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Data {
    /// The user's own.
    pub user: Option<Arc<BTreeMap<String, String>>>,
    /// What the user's groups have; where two have the same, the group that stands first.
    pub group: Option<Arc<BTreeMap<String, String>>>,
}

/// Another round of a first factor, sent as an Access-Challenge.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NeedMore {
    /// What the back end wants back with the next packet; it stays in the store, under the State.
    pub session: Vec<u8>,
    /// What the user is asked, as Reply-Message.
    pub message: String,
}

/// Whether a user has a second factor at a provider.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Enrolment {
    /// The user has one.
    Enrolled,
    /// The user has none.
    NotEnrolled,
    /// The provider could not tell.
    Unavailable(Reason),
}

/// What the packet, its RADIUS client and its policy let a prompt be.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Terms {
    /// A code can be had: it is here, or the protocol carries one (PAP) and the client shows challenges.
    pub code: bool,
    /// How the user wants to be asked.
    pub way: Option<Way>,
    /// What the policy says of users whose default is a push; `None` leaves it to the factor.
    pub push_users: Option<PushUsers>,
    /// What the policy says of users who are not registered; `None` leaves it to the factor.
    pub unregistered: Option<Unregistered>,
    /// Prompts are withheld from the user: nothing but a code may be asked for.
    pub codes_only: bool,
}

/// A question to a second factor: begin a prompt.
#[derive(Clone, Debug)]
pub struct BeginQuestion {
    /// The configured name of the second factor.
    pub factor: Arc<str>,
    /// Who.
    pub user: Arc<Identity>,
    /// The correlation id.
    pub id: AttemptId,
    /// What the prompt may be.
    pub terms: Terms,
    /// When the attempt ends undecided: an answer that comes later counts for nothing.
    pub deadline: Timestamp,
}

/// A question to a second factor: what became of a prompt that waits for the user?
#[derive(Clone, Debug)]
pub struct PollQuestion {
    /// The configured name of the second factor.
    pub factor: Arc<str>,
    /// Who.
    pub user: Arc<Identity>,
    /// The correlation id.
    pub id: AttemptId,
    /// What `BeginAnswer::Waiting` left.
    pub session: Arc<[u8]>,
}

/// A question to a second factor: is this code right?
#[derive(Debug)]
pub struct CodeQuestion {
    /// The configured name of the second factor.
    pub factor: Arc<str>,
    /// Who.
    pub user: Arc<Identity>,
    /// The correlation id.
    pub id: AttemptId,
    /// What the provider left when it asked for the code.
    pub session: Vec<u8>,
    /// The code.
    pub code: Secret,
    /// What is remembered of the user's codes.
    pub used: UsedCodes,
}

/// What a second-factor provider answers when a prompt begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BeginAnswer {
    /// Approved.
    Approved(Approval),
    /// Denied, or no longer to be had. Whether a prompt went out is unknown at worst: it is never begun a second time.
    Denied(Reason),
    /// The user was prompted and has not answered: poll.
    Waiting {
        /// What the provider wants back with each poll.
        session: Arc<[u8]>,
    },
    /// The user must type a code.
    CodeWanted(CodeWanted),
    /// The provider could not be asked, and no prompt went out.
    Unavailable(Reason),
}

/// Who approved.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Approval {
    /// The user.
    User,
    /// Nobody: the user is not registered and the rules let such users pass for now. Told and counted apart.
    Unregistered,
}

/// What a second-factor provider answers to a poll.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PollAnswer {
    /// The user approved.
    Approved,
    /// The user denied, or the prompt has ended otherwise.
    Denied(Reason),
    /// Not yet.
    Waiting,
    /// Nobody knows: poll again.
    Unavailable(Reason),
}

/// A provider waits for a code.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CodeWanted {
    /// What the provider wants back with the code.
    pub session: Vec<u8>,
    /// What to ask the user, where the provider knows better than `attempts.prompt`.
    pub prompt: Option<String>,
}

/// What a second-factor provider answers to a code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CodeAnswer {
    /// The code is right; it counts only if `use_` can still be recorded.
    Right(Option<CodeUse>),
    /// The code is wrong; another may be tried in the same session.
    Wrong(Reason),
    /// The code is wrong or the session is over: this attempt has ended.
    Ended(Reason),
    /// The code surely was not judged, because this node lacks something: silence, and another packet may bring it again.
    Unavailable(Reason),
    /// The code surely was not judged, because the provider could not be asked: a refusal that costs no guess.
    NotAsked(Reason),
    /// The code was sent to be judged, and nobody knows what came of it: it counts as a guess, and is never sent again.
    Unknown(Reason),
}

/// Names one token of one user: the first half of a digest over provider, user and the token's enrolment.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct TokenId(pub [u8; 16]);

/// That one code of a token was used: recorded with the verdict, in one transition, and refused when it is not newer than
/// what was used before (RFC 6238 §5.2, RFC 4226 §7.2).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CodeUse {
    /// Which token.
    pub token: TokenId,
    /// Its moving factor: time step or counter.
    pub factor: u64,
    /// When the record may be forgotten; `None`: never (HOTP).
    pub forget: Option<Timestamp>,
}

/// What the store remembers of a user's used codes.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct UsedCodes {
    /// Since when the memory is complete. Codes that could have been used before are refused (invariant A5).
    pub since: Timestamp,
    /// The same of counter-based tokens, whose counters outlive a fail-over of the store.
    pub counters_since: Timestamp,
    /// The lowest moving factor that each token may still use.
    pub next: Vec<(TokenId, u64)>,
}

impl UsedCodes {
    /// The lowest moving factor that `token` may still use.
    pub fn next(&self, token: TokenId) -> u64 {
        self.next.iter().find(|(id, _)| *id == token).map_or(0, |(_, next)| *next)
    }
}
