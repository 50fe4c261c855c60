//! The vectors as they are, and changed a little at random.

use fuzz::{TARGETS, Target};
use proptest::prelude::*;
use proptest::sample::Index;
use proptest::test_runner::{Config, TestRunner};

/// A change of one input.
#[derive(Clone, Debug)]
enum Change {
    Flip(Index, u8),
    Insert(Index, Vec<u8>),
    Remove(Index, usize),
    Cut(Index),
    Repeat(Index, usize),
    Put(Index, [u8; 4]),
}

impl Change {
    fn apply(self, octets: &mut Vec<u8>) {
        let place = |at: Index| at.index(octets.len() + 1);
        match self {
            Self::Flip(at, by) => {
                let at = at.index(octets.len().max(1));
                octets.iter_mut().skip(at).take(1).for_each(|one| *one ^= by);
            }
            Self::Insert(at, more) => {
                let at = place(at);
                octets.splice(at..at, more);
            }
            Self::Remove(at, count) => {
                let at = place(at);
                octets.drain(at..octets.len().min(at + count));
            }
            Self::Cut(at) => octets.truncate(place(at)),
            Self::Repeat(at, count) => {
                let at = place(at);
                let again: Vec<u8> = octets[at..octets.len().min(at + count)].to_vec();
                octets.splice(at..at, again);
            }
            Self::Put(at, word) => {
                let at = at.index(octets.len().max(1));
                octets.iter_mut().skip(at).zip(word).for_each(|(to, from)| *to = from);
            }
        }
    }
}

fn change() -> impl Strategy<Value = Change> {
    let word = prop_oneof![Just(0_u32), Just(u32::MAX), Just(1 << 31), any::<u32>()].prop_map(u32::to_be_bytes);
    prop_oneof![
        4 => (any::<Index>(), 1..=u8::MAX).prop_map(|(at, by)| Change::Flip(at, by)),
        2 => (any::<Index>(), proptest::collection::vec(any::<u8>(), 1..40)).prop_map(|(at, more)| Change::Insert(at, more)),
        2 => (any::<Index>(), 1..40_usize).prop_map(|(at, count)| Change::Remove(at, count)),
        1 => any::<Index>().prop_map(Change::Cut),
        1 => (any::<Index>(), 1..300_usize).prop_map(|(at, count)| Change::Repeat(at, count)),
        1 => (any::<Index>(), word).prop_map(|(at, word)| Change::Put(at, word)),
    ]
}

fn input(seeds: Vec<Vec<u8>>) -> impl Strategy<Value = Vec<u8>> {
    let of_seeds =
        (proptest::sample::select(seeds), proptest::collection::vec(change(), 0..6)).prop_map(|(seed, changes)| {
            changes.into_iter().fold(seed, |mut octets, change| {
                change.apply(&mut octets);
                octets
            })
        });
    prop_oneof![9 => of_seeds, 1 => proptest::collection::vec(any::<u8>(), 0..200)]
}

/// So many inputs for each target.
fn cases() -> u32 {
    std::env::var("ORTHRUS_FUZZ_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(3_000)
}

#[test]
fn every_target_bears_the_vectors_and_what_is_near_them() {
    for Target { name, run, seeds } in TARGETS {
        let seeds = seeds();
        assert!(!seeds.is_empty() && seeds.iter().any(|seed| !seed.is_empty()), "{name}");
        seeds.iter().for_each(|seed| run(seed));
        let config = Config { cases: cases(), failure_persistence: None, ..Config::default() };
        let outcome = TestRunner::new(config).run(&input(seeds), |octets| {
            run(&octets);
            Ok(())
        });
        if let Err(error) = outcome {
            panic!("{name}: {error}");
        }
    }
}

/// A target that never gets behind its first check would find nothing.
#[test]
fn the_seeds_get_far() {
    use gateway_core::accounting::report::Report;
    use gateway_core::factor::entra::{Session, read_begin, read_end, token};
    use gateway_core::radius::Packet;
    assert!(fuzz::seeds::packets().iter().filter(|octets| Packet::parse(octets).is_ok()).count() > 10);
    assert!(fuzz::seeds::session_reports().iter().all(|octets| Report::decode(octets, 1).is_ok()));
    assert!(fuzz::seeds::entra_sessions().iter().all(|octets| Session::decode(octets).is_some()));
    let lines = fuzz::seeds::accounting_lines();
    assert!(
        lines
            .iter()
            .all(|octets| <gateway::accounting::reload::Line as gateway::durable::ReadLine>::read(octets).is_some())
    );
    assert!(fuzz::seeds::entra_tokens().iter().filter(|octets| token::read(octets).is_some()).count() == 2);
    let read = |octets: &&Vec<u8>| read_begin(octets).is_ok() || read_end(octets).is_ok();
    assert!(fuzz::seeds::entra_answers().iter().filter(read).count() > 20);
}
