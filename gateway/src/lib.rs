//! Orthrus, the part that does: it reads files and the environment, opens sockets, asks back ends and tells what happened.
//! What is decided is decided in [`gateway_core`]; what is remembered for all nodes is remembered by `cluster`.

pub mod accounting;
pub mod actors;
mod admin;
pub mod audit;
pub mod backends;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod durable;
mod edit;
pub mod health;
pub mod learned;
pub mod listen;
pub mod locks;
pub mod looks;
mod means;
pub mod node;
mod passwords;
pub mod peers;
pub mod pending;
pub mod permits;
mod readiness;
pub mod running;
mod sharing;
pub mod store;
pub mod telemetry;
pub mod wrong_passwords;

/// The shipped program cannot break its own rules.
const _: () = assert!(!gateway_core::planted::POSSIBLE, "the feature planted-faults is for tests/simulation alone");
