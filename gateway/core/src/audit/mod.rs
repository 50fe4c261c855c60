//! The audit: what happened to sign-ins and to the node, as lines of JSON that are chained, so that a line which is changed, taken
//! out or put in shows. `docs/audit.md` describes the form; [`entry`] says what goes in, [`chain`] seals and verifies.
//!
//! ```json
//! {"v":1,"n":17,"time":"2025-11-25T10:00:00.123456Z","node":"gw1","event":"outcome","attempt":"…","client":"vpn","user":"alice","result":"accept","key":"1a2b3c4d","previous":"…","mac":"…"}
//! ```

pub mod chain;
pub mod entry;

pub use chain::{Break, Chain, Key, Link, Verifier};
pub use entry::Entry;
