//! One person's one try to pass the second factor: one prompt, one outcome, the only thing that nodes share.
//!
//! ```text
//!            Claim                Issue                    Take ──► Checking ──► Settle ──► Settled
//!  (nothing) ─────► Begun ───────────────► Challenged ────►                 └──► Retry ──► Challenged
//!                                              ▲  └─ Claim: same challenge again, later a new beginning
//! ```
//!
//! [`record`] is the data, [`transition`] what may be asked, [`records`] the rules, [`state`] the State attribute that names a challenge, [`codec`] the
//! records as octets. Everything is a pure function of the records and `now`: a store runs it as it is, or as a script
//! that is compared with it.

pub mod codec;
pub mod record;
pub mod records;
pub mod state;
pub mod transition;
