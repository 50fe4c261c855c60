//! What nodes remember together: attempts, challenges, used codes. The rules are pure transitions in
//! `gateway_core::attempt`; a [`Store`] applies them atomically and keeps the records.

mod certificates;
mod journal;
pub mod keys;
mod locks;
mod membership;
mod memory;
pub mod peers;
pub mod places;
pub mod redis;
pub mod sealed;
mod sessions;
mod stats;
pub mod threads;
mod wrong_passwords;

pub use certificates::Certificate;
pub use journal::{Journal, JournalError};
pub use locks::{HeardLocks, TellingLocks};
pub use membership::{Member, Says};
pub use memory::{MemoryStore, Settings};
pub use redis::{RedisStore, Watch};
pub use sessions::{Heard, Since, Telling};
pub use stats::{Counter, Stats};
pub use wrong_passwords::{HeardGuesses, TellingGuesses};

use gateway_core::attempt::record::{Owner, PacketDigest};
use gateway_core::attempt::transition::{Outcome, Transition, Unanswered};
use gateway_core::reason::Reason;
use gateway_core::time::Timestamp;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

/// What a store makes of a transition: at once where it can, so that the common case allocates nothing.
pub enum Applied {
    /// Done.
    Now(Result<Outcome, StoreError>),
    /// Under way. The transition happens even if nobody polls this any more.
    Later(Pin<Box<dyn Future<Output = Result<Outcome, StoreError>> + Send>>),
}

/// Why a store did not take a transition.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The limit on records is met.
    #[error("the store holds as many records as limits.attempts allows")]
    Full,
    /// The record could not be made durable, or the store could not be reached.
    #[error("the store cannot be written")]
    Unavailable,
    /// The store has just failed over, and nobody is prompted yet.
    #[error("the store has just failed over")]
    Settling,
    /// The record was written by a release that this one does not know.
    #[error("a record in the store is of a version that this release does not know")]
    OtherVersion,
    /// The record is not what it says.
    #[error("a record in the store does not open, or is not what it says")]
    Tampered,
}

impl StoreError {
    /// The reason that logs and metrics name.
    pub fn reason(self) -> Reason {
        match self {
            Self::Full => Reason::StoreFull,
            Self::Unavailable => Reason::StoreUnavailable,
            Self::Settling => Reason::StoreSettling,
            Self::OtherVersion => Reason::StoreOtherVersion,
            Self::Tampered => Reason::StoreTampered,
        }
    }
}

/// Applies transitions atomically. There is one call and no bare get and set (DESIGN section 5).
pub trait Store: Send + Sync {
    /// Applies `transition`; the outcome is durable as far as the store promises before it is told.
    fn apply(&self, transition: Transition, now: Timestamp) -> Applied;

    /// Forgets what has expired and names the attempts that nobody answered.
    fn sweep(&self, now: Timestamp) -> Vec<Unanswered>;

    /// What a probe should know.
    fn health(&self) -> Health;

    /// Whether other nodes use it too.
    fn is_shared(&self) -> bool {
        self.stats().is_some()
    }

    /// Hears of what other nodes write about `user`. `None`: there are no others.
    fn watch(&self, user: &str) -> Option<Watch> {
        let _ = user;
        None
    }

    /// Whether a node in that life is surely gone.
    fn is_dead(&self, owner: &Owner) -> bool {
        let _ = owner;
        false
    }

    /// What this node is to say of itself from now on.
    fn tell(&self, says: Says) {
        let _ = says;
    }

    /// The nodes that are alive; none where a store is one node's alone.
    fn nodes(&self) -> Vec<Member> {
        Vec::new()
    }

    /// What the store counts, if it is shared.
    fn stats(&self) -> Option<Arc<Stats>> {
        None
    }

    /// Puts a certificate of this node into the registry.
    fn register(&self, certificate: Certificate) -> Asked<()> {
        let _ = certificate;
        Box::pin(async { Ok(()) })
    }

    /// The certificates of all nodes.
    fn certificates(&self) -> Asked<Vec<Certificate>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    /// Takes a packet for this node. `answers`: it answers a challenge. `None`: such packets are not shared.
    fn packet(&self, digest: PacketDigest, answers: bool) -> Option<Asked<PacketSeen>> {
        let _ = (digest, answers);
        None
    }

    /// What became of a packet that was taken; without a reply it may come again.
    fn packet_ended(&self, ticket: Ticket, reply: Option<Arc<[u8]>>) {
        let _ = (ticket, reply);
    }

    /// The reply to a packet that could not be taken, as the store was away when it came. It is told if the store is back by now
    /// and such packets are shared.
    fn packet_answered(&self, digest: PacketDigest, answers: bool, reply: Arc<[u8]>) {
        let _ = (digest, answers, reply);
    }

    /// Tells the others of sessions, and hears what they told. `None`: there are no others.
    fn share_sessions(&self, telling: Telling) -> Option<Asked<Heard>> {
        let _ = telling;
        None
    }

    /// Tells the others of wrong passwords, and hears what they told. `None`: there are no others.
    fn share_guesses(&self, telling: TellingGuesses) -> Option<Asked<HeardGuesses>> {
        let _ = telling;
        None
    }

    /// Tells the others of locked users, and hears what they told. `None`: there are no others.
    fn share_locks(&self, telling: TellingLocks) -> Option<Asked<HeardLocks>> {
        let _ = telling;
        None
    }

    /// The node is going: others need not wait for its silence.
    fn leave(&self) -> Asked<()> {
        Box::pin(async { Ok(()) })
    }
}

/// An answer of a shared store.
pub type Asked<T> = Pin<Box<dyn Future<Output = Result<T, StoreError>> + Send>>;

/// That a node has taken a packet: what it wrote, and nobody else can have written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Ticket {
    key: String,
    value: Vec<u8>,
}

/// What nodes know of a packet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum PacketSeen {
    /// Nobody has it: it is the asking node's now, under this.
    New(Ticket),
    /// Another node has it in progress, and will answer.
    Pending,
    /// It was answered with these octets.
    Replied(Vec<u8>),
}

/// How a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// The last write failed.
    pub failing: bool,
    /// Records held.
    pub records: usize,
    /// The store that nodes share cannot be reached.
    pub lost: bool,
    /// Another node has this node's name.
    pub conflict: bool,
}
