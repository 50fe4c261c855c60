//! What reads octets that somebody else wrote, each as a target: no input may make it panic, and some things must hold of what it
//! makes of an input. The wire vectors are the first inputs ([`seeds`]).
//!
//! `cargo test -p fuzz` changes the vectors at random, briefly; `tests/fuzz/run` has libFuzzer do it, led by coverage.

pub mod seeds;
mod targets;

/// A reader.
#[derive(Clone, Copy)]
pub struct Target {
    /// Its name.
    pub name: &'static str,
    /// Reads an input. It panics where something does not hold that must.
    pub run: fn(&[u8]),
    /// The first inputs.
    pub seeds: fn() -> Vec<Vec<u8>>,
}

/// All of them.
pub const TARGETS: &[Target] = &[
    Target { name: "packet", run: targets::packet, seeds: seeds::packets },
    Target { name: "access", run: targets::access, seeds: seeds::attributes },
    Target { name: "accounting", run: targets::accounting, seeds: seeds::attributes },
    Target { name: "accounting_line", run: targets::accounting_line, seeds: seeds::accounting_lines },
    Target { name: "audit_line", run: targets::audit_line, seeds: seeds::audit_lines },
    Target { name: "disconnect_answer", run: targets::disconnect_answer, seeds: seeds::attributes },
    Target { name: "user_name", run: targets::user_name, seeds: seeds::user_names },
    Target { name: "state", run: targets::state, seeds: seeds::states },
    Target { name: "records", run: targets::records, seeds: seeds::records },
    Target { name: "sealed", run: targets::sealed, seeds: seeds::sealed },
    Target { name: "session_report", run: targets::session_report, seeds: seeds::session_reports },
    Target { name: "peer", run: targets::peer, seeds: seeds::peer_frames },
    Target { name: "entra_answer", run: targets::entra_answer, seeds: seeds::entra_answers },
    Target { name: "entra_token", run: targets::entra_token, seeds: seeds::entra_tokens },
    Target { name: "entra_session", run: targets::entra_session, seeds: seeds::entra_sessions },
    Target { name: "dictionary", run: targets::dictionary, seeds: seeds::dictionaries },
    Target { name: "template", run: targets::template, seeds: seeds::templates },
];
