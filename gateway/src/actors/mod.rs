//! The actors. Each either carries out one request or is the sole owner of one changing thing (house rule 16); what they
//! say to each other is in [`messages`].
//!
//! | actor | one per | owns |
//! |---|---|---|
//! | [`listener::Listener`] | socket and thread | the socket, the duplicate table |
//! | [`accounting::AccountingListener`] | accounting socket and thread | the socket, answers that wait for the kernel |
//! | [`exchange::Exchange`] | request in progress | one exchange of the core, one permit, one reply slot |
//! | [`driver::Driver`] | prompt that is out | one driver of the core |
//! | [`keeper::Guard`] (no actor, but what it holds) | listener | how to build another one |
//! | [`reloader::Reloader`] | node | the look at files that change, and the sweep of the store |

pub mod accounting;
mod delayed;
pub mod driver;
pub mod exchange;
mod forward;
pub mod keeper;
pub mod listener;
pub mod messages;
pub mod reloader;
pub mod self_sign_in;

#[cfg(test)]
mod tests;
