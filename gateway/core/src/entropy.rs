//! Randomness as an argument (house rule 4), so that tests are repeatable and only the edge knows the operating system.

/// A source of random octets, fit for keys where the edge implements it.
pub trait Entropy {
    /// Fills `out`.
    fn fill(&mut self, out: &mut [u8]);
}

/// `N` random octets.
pub fn draw<const N: usize>(entropy: &mut dyn Entropy) -> [u8; N] {
    let mut out = [0; N];
    entropy.fill(&mut out);
    out
}

/// Counts upward from a seed: for tests and the simulation only, never for keys.
#[derive(Clone, Debug)]
pub struct Counting(pub u64);

impl Entropy for Counting {
    fn fill(&mut self, out: &mut [u8]) {
        for chunk in out.chunks_mut(8) {
            self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
            let mut z = self.0;
            z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
            z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
            z ^= z >> 31;
            for (octet, random) in chunk.iter_mut().zip(z.to_le_bytes()) {
                *octet = random;
            }
        }
    }
}
