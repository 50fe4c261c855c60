//! Orders about locked users, as nodes tell them each other by way of a shared store.

use crate::sessions::Since;
use gateway_core::limit::locks::Lock;

/// Orders that a node tells, and up to where it has heard others.
#[derive(Debug)]
pub struct TellingLocks {
    /// Orders that others may not know.
    pub orders: Vec<Lock>,
    /// Place up to which it has heard already.
    pub since: Since,
}

/// Answer of the store.
#[derive(Debug)]
pub struct HeardLocks {
    /// The newest order about each user, those that the node told itself included. An order may come more than once.
    pub orders: Vec<Lock>,
    /// Up to where.
    pub since: Since,
    /// There are more.
    pub more: bool,
    /// Another one than before: the store was emptied meanwhile, and every order is to be told again.
    pub life: String,
}
