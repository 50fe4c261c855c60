//! How packets reach the gateway: the sockets and their framing, and nothing of what the octets mean.

mod bind;
pub mod reply_to;
pub mod udp;
