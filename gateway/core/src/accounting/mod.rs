//! Accounting (RFC 2866, RFC 2869 §5.1 to §5.3): what a NAS reports of its sessions, which of it is the same record again, and
//! which sessions are open. Nothing here writes a record down; the edge does, and answers when it is durable.

pub mod line;
pub mod recent;
pub mod record;
pub mod report;
pub mod sessions;

#[cfg(test)]
mod tests;
