//! One person's one try to pass the second factor: one prompt, one outcome, the only thing that nodes share.
//!
//! A code is asked for by a challenge:
//!
//! ```text
//!            Claim                Issue                    Take ──► Checking ──► Settle ──► Settled
//!  (nothing) ─────► Begun ───────────────► Challenged ────►                 └──► Retry ──► Challenged
//!                                              ▲  └─ Claim: same challenge again, later a new beginning
//! ```
//!
//! A prompt (a push, a call) is out while its packets wait; each newer packet takes the place of the one before:
//!
//! ```text
//!            Claim               Await                Settle
//!  (nothing) ─────► Begun ──────────────► Waiting ──────────────► Settled ◄── Collect: the newest packet's outcome
//!                     ▲ └ Claim: Joined ──┘  │ ▲
//!                     │                      │ └ Take: a later packet under the State waits
//!                     └ Settle               └── Collect with a challenge: the packet is answered, the prompt goes on
//! ```
//!
//! [`record`] is the data, [`transition`] what may be asked, [`records`] and [`prompts`] the rules, [`holds`] what keeps a user out, [`driver`] who makes a prompt happen, [`state`] the State attribute that names a challenge, [`codec`] and [`bundle`] the
//! records as octets. Everything is a pure function of the records and `now`: a store runs it on the records it holds, or
//! on a copy that replaces the original only if nobody else has replaced it meanwhile.

pub mod bundle;
pub mod codec;
pub mod driver;
pub mod holds;
mod lifetime;
mod open;
mod prompts;
pub mod record;
pub mod records;
pub mod state;
pub mod transition;
