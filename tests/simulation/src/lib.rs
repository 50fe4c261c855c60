//! The real core of several nodes in one process. Time is invented, chance comes from one seed, the network loses, doubles, delays
//! and reorders packets, nodes crash and pause, the store fails over and loses its last writes, people tap late, wrongly or never.
//! After each step it is checked that nothing happened that must never happen: A1 to A5.
//!
//! ```text
//!   nas.rs ──► network ──► node.rs: Exchange, Driver, Duplicates ──► store.rs: Records and their transitions
//!   people      (loss)      (the edge, re-enacted)                    (delay, fail-over)
//!      └────── provider.rs: phones, codes ◄──┘          check.rs looks at every reply, prompt and transition
//! ```
//!
//! What decides is the product's own: [`gateway_core`]. What is re-enacted is the edge: `gateway/src/actors/exchange.rs`, `driver.rs`,
//! `listener.rs`, `gateway/src/pending.rs`, and what `cluster/src/redis` does around the transitions.

mod check;
mod event;
mod figures;
mod nas;
mod node;
mod plan;
mod provider;
mod random;
mod setup;
mod store;
mod world;

pub use check::Failure;
pub use figures::Figures;
pub use setup::Setup;

/// A run, and how it ended.
#[derive(Debug)]
pub struct Ran {
    /// What happened in it.
    pub figures: Figures,
    /// What must never happen, and did.
    pub failure: Option<Failure>,
    /// All that was traced.
    pub lines: Vec<String>,
    /// The last of it.
    pub last: Vec<String>,
}

/// Runs one seed. With `trace`, every step is written down.
pub fn run(setup: &Setup, seed: u64, trace: bool) -> Ran {
    let mut world = world::World::new(setup, seed, trace);
    world.figures.runs = 1;
    world.run();
    Ran {
        lines: world.lines().to_vec(),
        last: world.last_lines().to_vec(),
        figures: world.figures,
        failure: world.failure,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_seed_is_a_run() {
        let setup = Setup::new();
        for seed in [7, 8] {
            let (one, other) = (run(&setup, seed, true), run(&setup, seed, true));
            assert!(one.lines.len() > 50, "{} lines", one.lines.len());
            assert_eq!(one.lines, other.lines, "seed {seed}");
            assert_eq!(
                one.figures.to_string(),
                run(&setup, seed, false).figures.to_string(),
                "a trace changes nothing"
            );
        }
        assert_ne!(run(&setup, 7, true).lines, run(&setup, 8, true).lines);
    }

    #[test]
    fn seeds_are_clean_and_meet_everything_there_is() {
        let (setup, mut figures) = (Setup::new(), Figures::default());
        for seed in 0..3_000 {
            let ran = run(&setup, seed, false);
            if let Some(failure) = ran.failure {
                let last = run(&setup, seed, true).last.join("\n");
                panic!("{last}\nseed {seed}: {} is broken: {}", failure.rule, failure.what);
            }
            figures.add(&ran.figures);
        }
        let text = figures.to_string();
        let counts = text.lines().flat_map(|line| line.split_whitespace()).filter_map(|word| word.parse::<u64>().ok());
        assert_eq!(counts.clone().count(), 25, "{text}");
        assert!(
            counts.clone().all(|count| count > 0),
            "something never happens, so that nothing is learnt of it:\n{text}"
        );
    }
}
