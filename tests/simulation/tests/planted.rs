//! For each of A1 to A5 rules are broken in the core, one at a time, and the simulation finds each. The same seeds are clean where
//! nothing is broken.

use gateway_core::planted::{Fault, plant};
use simulation::{Setup, run};
use std::collections::BTreeSet;

/// Seeds that are tried for each fault. The slowest to be found takes a tenth of them.
const SEEDS: u64 = 30_000;

/// The first seed that shows that the invariant is broken.
fn found(setup: &Setup, fault: Fault) -> Option<(u64, String)> {
    plant(Some(fault));
    let found = (0..SEEDS).find_map(|seed| {
        let failure = run(setup, seed, false).failure.filter(|failure| failure.rule == fault.breaks())?;
        Some((seed, failure.what))
    });
    plant(None);
    found
}

#[test]
fn every_planted_fault_is_found_and_nothing_else() {
    let setup = Setup::new();
    let (mut missed, mut last) = (Vec::new(), 0);
    for fault in Fault::ALL {
        match found(&setup, fault) {
            Some((seed, what)) => {
                println!("{fault:?}: seed {seed}: {}: {what}", fault.breaks());
                last = last.max(seed);
            }
            None => missed.push(fault),
        }
    }
    assert!(missed.is_empty(), "not found: {missed:?}");
    let broken: BTreeSet<_> = Fault::ALL.iter().map(|fault| fault.breaks()).collect();
    assert_eq!(broken.into_iter().collect::<Vec<_>>(), ["A1", "A2", "A3", "A4", "A5"]);
    for seed in 0..=last {
        assert!(run(&setup, seed, false).failure.is_none(), "seed {seed} fails with nothing planted");
    }
}
