//! Limits as plain values.

pub mod breaker;
pub mod places;
