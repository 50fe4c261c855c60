//! The part of Orthrus that decides. It opens no socket or file, reads no clock, spawns no task and draws no randomness:
//! time is `now`, randomness is an [`entropy::Entropy`], and everything to be done comes back as an effect.

pub mod accounting;
pub mod attempt;
pub mod audit;
pub mod config;
pub mod dynamic_authorization;
pub mod entropy;
pub mod event;
pub mod exchange;
pub mod factor;
pub mod identity;
pub mod limit;
pub mod planted;
pub mod policy;
pub mod radius;
pub mod reason;
pub mod retransmission;
pub mod secret;
pub mod time;
