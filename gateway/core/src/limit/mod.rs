//! Limits as plain values.

pub mod breaker;
pub mod locks;
pub mod patience;
pub mod places;
pub mod queue;
pub mod shares;
pub mod wrong_passwords;
