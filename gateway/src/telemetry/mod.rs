//! What the gateway tells: metrics, log lines, traces, and the ring of the last events. Code emits an event; here it is
//! decided what becomes of it (house rule 15).

pub mod accounting;
pub mod audit;
pub mod brake;
pub mod dynamic_authorization;
pub mod lines;
pub mod log;
pub mod metrics;
pub mod observer;
mod peers;
pub mod reference;
pub mod ring;
pub mod store;
pub mod trace;
