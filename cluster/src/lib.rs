//! What nodes remember together: attempts, challenges, used codes. The rules are pure transitions in
//! `gateway_core::attempt`; a [`Store`] applies them atomically and keeps the records.

mod journal;
mod memory;

pub use journal::{Journal, JournalError};
pub use memory::{MemoryStore, Settings};

use gateway_core::attempt::transition::{Outcome, Transition, Unanswered};
use gateway_core::reason::Reason;
use gateway_core::time::Timestamp;
use std::future::Future;
use std::pin::Pin;

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
}

impl StoreError {
    /// The reason that logs and metrics name.
    pub fn reason(self) -> Reason {
        match self {
            Self::Full => Reason::StoreFull,
            Self::Unavailable => Reason::StoreUnavailable,
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
}

/// How a store is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Health {
    /// The last write failed.
    pub failing: bool,
    /// Records held.
    pub records: usize,
}
