//! The one source of chance: whatever happens in a run is drawn from it, so that a seed is a run.

use gateway_core::entropy::{Counting, Entropy};

/// Chance, from a seed.
#[derive(Clone, Debug)]
pub(crate) struct Random(Counting);

impl Random {
    pub(crate) fn new(seed: u64) -> Self {
        // Seeds are counted upward, and so is the source: without this, one seed's numbers would be the next one's shifted by one.
        let mut mixed = [0; 8];
        Counting(seed.wrapping_mul(0xd134_2543_de82_ef95)).fill(&mut mixed);
        Self(Counting(u64::from_le_bytes(mixed)))
    }

    pub(crate) fn next(&mut self) -> u64 {
        let mut octets = [0; 8];
        self.0.fill(&mut octets);
        u64::from_le_bytes(octets)
    }

    /// Below `end`, which is above zero.
    pub(crate) fn below(&mut self, end: u64) -> u64 {
        self.next() % end
    }

    /// From `low` to `high`, both included.
    pub(crate) fn range(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high - low + 1)
    }

    /// Happens `times` in a thousand.
    pub(crate) fn chance(&mut self, times: u64) -> bool {
        times > 0 && self.below(1_000) < times
    }

    pub(crate) fn index(&mut self, len: usize) -> usize {
        usize::try_from(self.below(len as u64)).unwrap_or(0)
    }

    pub(crate) fn pick<T: Copy>(&mut self, all: &[T]) -> T {
        all[self.index(all.len())]
    }
}

impl Entropy for Random {
    fn fill(&mut self, out: &mut [u8]) {
        self.0.fill(out);
    }
}
