//! Limits as plain values.

pub mod breaker;
pub mod patience;
pub mod places;
