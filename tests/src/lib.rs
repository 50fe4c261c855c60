//! The harness of the integration tests: it starts the real `orthrus` as a process of its own and speaks to it over real
//! sockets. Nothing here reaches into the gateway; what a test knows of it, a NAS, an operator or a scraper could know.
//!
//! | module | what it stands for |
//! |---|---|
//! | [`setup`] | an operator who writes a configuration |
//! | [`gateway`] | the process: started, reloaded, stopped, killed |
//! | [`accounting`] | who reads the accounting records |
//! | [`client`] | a NAS |
//! | [`restless`] | a NAS that hides its retransmissions |
//! | [`token`] | a person's authenticator app |
//! | [`redis`] | the store that nodes share |
//! | [`balancer`] | nginx, before several nodes |
//! | [`relay`], [`cut`] | a bad network |
//! | [`peers`] | the authority that signs for nodes |
//! | [`entra`] | an organisation with Entra MFA, simulated |
//! | [`dae`] | a NAS that reports sessions and obeys |
//! | [`metrics`] | a scraper |
//! | [`radclient`], [`pyrad`], [`collector`], [`namespace`] | peers that others wrote, and the networks they live in |
//! | [`vectors`] | the packets of `tests/vectors` |

pub mod accounting;
pub mod balancer;
pub mod binary;
pub mod client;
pub mod collector;
pub mod cut;
pub mod dae;
pub mod entra;
pub mod fleet;
pub mod gateway;
pub mod lines;
pub mod metrics;
pub mod mschap;
pub mod namespace;
pub mod peers;
pub mod process;
pub mod pyrad;
pub mod radclient;
pub mod redis;
pub mod relay;
pub mod restless;
pub mod sentinel;
pub mod setup;
pub mod token;
pub mod vectors;
pub mod wait;

pub use balancer::Balancer;
pub use client::{Client, Reply, Request};
pub use gateway::{Gateway, Release};
pub use redis::Redis;
pub use relay::{Faults, Relay};
pub use restless::Restless;
pub use setup::{NAS, SECRET, Setup};
pub use token::SoftToken;
pub use wait::{PATIENCE, eventually};

use std::path::{Path, PathBuf};

/// The root of the workspace.
pub fn workspace() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the tests lie in the workspace").to_owned()
}
