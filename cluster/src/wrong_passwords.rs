//! What nodes tell each other of wrong passwords by way of a shared store.

use crate::sessions::Since;
use gateway_core::limit::wrong_passwords::Batch;
use std::time::Duration;

/// What a node tells of wrong passwords, and what it asks.
#[derive(Debug)]
pub struct TellingGuesses {
    /// What it counted.
    pub batches: Vec<Batch>,
    /// What it has heard of others already.
    pub since: Since,
    /// Batches are kept for so long: after it the failures in them are forgotten.
    pub lives: Duration,
}

/// What others told.
#[derive(Debug)]
pub struct HeardGuesses {
    /// The batches, the oldest first, each with the life of the node that told it. A batch may come more than once.
    pub batches: Vec<(u64, Batch)>,
    /// Up to where.
    pub since: Since,
    /// There are more.
    pub more: bool,
    /// Another one than before: the store was emptied meanwhile.
    pub life: String,
}
