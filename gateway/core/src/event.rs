//! Everything worth telling, in one enum (house rule 15): the event decides the log line, the counter and what the
//! ring keeps. No event carries a secret; names of users go to the log and the ring, never into a metric label.

use crate::attempt::record::AttemptId;
use crate::factor::Approval;
use crate::limit::wrong_passwords::{Guess, Pause};
use crate::reason::Reason;
use crate::time::Timestamp;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

/// Something that happened.
#[derive(Clone, Debug)]
pub enum Event {
    /// A datagram was dropped before anybody was asked.
    Dropped {
        /// The RADIUS client, if the source is one.
        client: Option<Arc<str>>,
        /// Where it came from.
        source: SocketAddr,
        /// Why.
        reason: Reason,
        /// Which rule of the wire it broke, if it did.
        detail: Option<&'static str>,
    },
    /// A packet came again (RFC 5080 §2.2.2).
    Duplicate {
        /// From which client.
        client: Arc<str>,
        /// Whether its reply was sent again, or it was still in progress.
        replayed: bool,
    },
    /// A Status-Server was answered (RFC 5997).
    StatusServer {
        /// From which client.
        client: Arc<str>,
    },
    /// A step of a sign-in.
    Step {
        /// Of which attempt.
        id: AttemptId,
        /// The user, and where they sign in.
        subject: Arc<Subject>,
        /// What.
        step: Step,
    },
    /// An exchange ended.
    Finished(Box<Finished>),
    /// Passwords are refused without being looked at for a while, since too many were wrong.
    PasswordsPaused {
        /// The attempt whose password was one too many.
        id: AttemptId,
        /// Where it came from.
        guess: Box<Guess>,
        /// What pauses, and for how long.
        pause: Box<Pause>,
    },
    /// An attempt ended with nobody there to hear of it.
    Unanswered {
        /// Of which attempt.
        id: AttemptId,
        /// How it ended.
        reason: Reason,
        /// Whose.
        user: Arc<str>,
        /// At which client or group of clients.
        client: Arc<str>,
        /// When the attempt began.
        begun: Timestamp,
    },
    /// Something happened to the node.
    Node(NodeEvent),
}

/// Something that happened to the node, or that somebody did to it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum NodeEvent {
    /// It serves.
    Started {
        /// Its release.
        version: String,
        /// The version of the configuration in force.
        config: String,
    },
    /// It ends.
    Stopped,
    /// The configuration was read again.
    Reloaded {
        /// The version in force now, or the faults for which the old one stays in force.
        config: Result<String, String>,
    },
    /// An operator commanded it.
    Ordered {
        /// The operator.
        by: Order,
        /// The command, and what was given with it.
        command: String,
    },
    /// Packets were dropped at the socket.
    Dropped {
        /// The RADIUS client, if the source is one.
        client: Option<Arc<str>>,
        /// Why.
        reason: Reason,
        /// How many.
        packets: u64,
    },
    /// Lines did not get into the audit; nothing that they tell of was answered.
    Unwritten {
        /// How many.
        lines: u64,
    },
    /// At the start, lines at the end of the audit were not there any more.
    Cut {
        /// The first that is missing.
        from: u64,
        /// The last.
        to: u64,
    },
}

/// Who gave a command.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Order {
    /// A process at the control socket (SO_PEERCRED).
    Socket {
        /// Its account.
        uid: u32,
        /// Its number.
        pid: Option<i32>,
    },
    /// A bearer of a token, over HTTP.
    Http {
        /// The address that it came from.
        from: Option<SocketAddr>,
        /// The key of the configuration that names the token.
        token: &'static str,
    },
}

/// The user of a sign-in, and where they sign in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subject {
    /// The RADIUS client; for a prompt, its `attempt_group`.
    pub client: Arc<str>,
    /// Its address and port. A prompt outlives the packets that wait for it, and has none.
    pub source: Option<SocketAddr>,
    /// The user as the NAS named them.
    pub user: Arc<str>,
    /// Calling-Station-Id, where the NAS sends one.
    pub station: Option<Box<[u8]>>,
}

/// A step of a sign-in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// The first factor answered.
    FirstFactor {
        /// Its configured name.
        factor: Arc<str>,
        /// `None`: proved.
        failure: Option<Reason>,
        /// How long it took.
        took: Duration,
    },
    /// The policies decided.
    Policy {
        /// The one that fits.
        policy: Option<Arc<str>>,
        /// `None`: it permits.
        failure: Option<Reason>,
    },
    /// The reply of the policy that decided cannot be made for this user.
    Unrendered {
        /// The policy.
        policy: Arc<str>,
        /// The attribute; empty where it is all of them together.
        attribute: Arc<str>,
        /// Why.
        reason: Reason,
        /// What exactly.
        problem: String,
    },
    /// The attempt was claimed, and the second factor is about to be asked.
    Claimed {
        /// Under this epoch.
        epoch: u64,
    },
    /// The provider is asked to prompt the user.
    Prompted {
        /// The configured name of the second factor.
        factor: Arc<str>,
    },
    /// The prompt was answered, or has ended.
    Prompt {
        /// The configured name of the second factor.
        factor: Arc<str>,
        /// Who approved, or why nobody did.
        answer: Result<Approval, Reason>,
        /// How long it took.
        took: Duration,
    },
    /// The packet is a repeat of an attempt whose prompt is out: it waits for the outcome, and nobody is prompted again.
    Joined,
    /// Nobody prompts the user, who did not approve the last prompts.
    Withheld {
        /// Until when; `None`: until an operator lifts it.
        until: Option<Timestamp>,
        /// A code is asked for instead.
        code: bool,
    },
    /// The node that drove the prompt died, and this one goes on with it.
    TakenOver {
        /// Under this epoch.
        epoch: u64,
    },
    /// The packet's wait is over before the prompt's: the user is asked to come back for the outcome.
    Postponed,
    /// A challenge went out.
    Challenged {
        /// What for: the name of the factor.
        factor: Arc<str>,
        /// The same one as before, for a repeat of the first leg.
        again: bool,
    },
    /// A State came back and was taken.
    Answered,
    /// The second factor judged a code.
    Code {
        /// Its configured name.
        factor: Arc<str>,
        /// `None`: right.
        failure: Option<Reason>,
        /// How long it took.
        took: Duration,
    },
    /// The user has brought a new password, and was allowed to.
    PasswordChange {
        /// The configured name of the first factor.
        factor: Arc<str>,
        /// `None`: it is set.
        failure: Option<Reason>,
    },
    /// The outcome was committed.
    Committed,
    /// An answer came that the stage does not allow.
    Unexpected {
        /// The stage.
        stage: &'static str,
        /// The answer.
        input: &'static str,
    },
}

/// How an exchange ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// Access-Accept.
    Accept,
    /// Access-Reject.
    Reject,
    /// Access-Challenge.
    Challenge,
    /// No reply.
    Silence,
}

impl Ending {
    /// The word in logs and metrics.
    pub const fn label(self) -> &'static str {
        match self {
            Self::Accept => "accept",
            Self::Reject => "reject",
            Self::Challenge => "challenge",
            Self::Silence => "silence",
        }
    }
}

/// One line of the sign-in log.
#[derive(Clone, Debug)]
pub struct Finished {
    /// The correlation id.
    pub id: AttemptId,
    /// The RADIUS client.
    pub client: Arc<str>,
    /// Its address and port.
    pub source: SocketAddr,
    /// The user as the NAS named them, with control characters escaped by whoever prints it.
    pub user: Arc<str>,
    /// Calling-Station-Id, where the NAS sends one.
    pub station: Option<Box<[u8]>>,
    /// The first factor that was asked.
    pub first_factor: Option<Arc<str>>,
    /// The policy that decided.
    pub policy: Option<Arc<str>>,
    /// The second factor that was asked.
    pub second_factor: Option<Arc<str>>,
    /// It prompted the user, who answered elsewhere; otherwise a code was asked for.
    pub prompted: bool,
    /// How it ended.
    pub ending: Ending,
    /// Why, for anything but an accept and a challenge.
    pub reason: Option<Reason>,
    /// When the request was received.
    pub received: Timestamp,
    /// How long the first factor took.
    pub first_factor_took: Duration,
    /// How long the second factor took to answer, the human not included.
    pub second_factor_took: Duration,
    /// How long the attempt took since its first packet, the human included.
    pub since_begun: Duration,
    /// How long this request took.
    pub took: Duration,
}
