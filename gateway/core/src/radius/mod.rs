//! The RADIUS wire: what octets mean and what octets we send. Nothing here decides who may sign in.
//!
//! ```text
//!  0        1            2       3       4 .. 19         20 .. Length-1
//! ┌────────┬────────────┬───────────────┬───────────────┬─────────────────────────────┐
//! │ Code   │ Identifier │ Length        │ Authenticator │ Type │ Length │ Value │ ...  │
//! └────────┴────────────┴───────────────┴───────────────┴─────────────────────────────┘
//! ```
//!
//! [`Packet::parse`] is the only door in; [`encode_reply`] and [`encode_request`] are the only doors out. RFC 2865, 2869,
//! 3162, 3579, 5080, 5997, 6929 and 8044; the defence against forged replies (CVE-2024-3596) is that every reply to an
//! Access-Request carries Message-Authenticator, and carries it first.

pub mod attribute;
mod attributes;
mod authenticator;
mod code;
mod definition;
mod describe;
mod dictionary;
mod filter;
mod framing;
mod hidden;
pub(crate) mod nearest;
mod occurrence;
mod packet;
mod password;
mod reply;
mod value;

pub use attributes::{Attributes, TooLong};
pub use authenticator::{Proof, SharedSecret};
pub use code::Code;
pub use definition::{AttributeDef, AttributeNumber, DEEPEST, DataType, Hiding, Layout, NotANumber, Outer};
pub use describe::{Numbered, describe, describe_attributes, describe_with, numbered, numbered_with};
pub use dictionary::{Dictionary, dictionary, freeradius};
pub use occurrence::{Occurrence, in_access_accept};
pub use packet::{Attribute, AttributeIter, Framed, LONGEST_PACKET, Malformed, Packet};
pub use password::{hide_password, hide_salted, reveal_password, reveal_salted};
pub use reply::{ReplyFault, encode_reply, encode_request, verify_reply};
pub use value::ValueError;

#[cfg(test)]
mod vectors;
