//! Limits as plain values.

pub mod breaker;
