//! What nodes tell each other of sessions by way of a shared store.

use gateway_core::accounting::report::Report;
use std::time::Duration;

/// What a node tells of sessions, and what it asks.
#[derive(Debug)]
pub struct Telling {
    /// What it heard of NASes.
    pub reports: Vec<Report>,
    /// What it has heard of others already.
    pub since: Since,
    /// Reports are kept for so long: after it nothing was heard of a session for so long that it has ended.
    pub lives: Duration,
    /// Reports that are kept.
    pub most: usize,
}

/// Up to where a node has heard what others tell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Since(pub(crate) String);

impl Since {
    /// As the store tells it.
    pub fn at(upto: &str) -> Self {
        Self(upto.to_owned())
    }
}

impl Default for Since {
    /// Nothing yet.
    fn default() -> Self {
        Self("0".to_owned())
    }
}

/// What others told.
#[derive(Debug)]
pub struct Heard {
    /// The reports, the oldest first; and what is newer than what was told.
    pub reports: Vec<Report>,
    /// Up to where.
    pub since: Since,
    /// There are more.
    pub more: bool,
    /// Another one than before: the store was emptied meanwhile, and what it had is to be told again.
    pub life: String,
}
