//! Random numbers from the seed, one stream a purpose, so that one more object does not renumber the rest.

use crate::trace::Fnv;
use std::hash::Hasher as _;

/// A stream (SplitMix64: small, fast, and good enough to choose faults).
#[derive(Debug, Clone)]
pub(crate) struct Rng(u64);

impl Rng {
    /// The stream of `seed` for `purpose`.
    pub(crate) fn of(seed: u64, purpose: &str) -> Self {
        let mut hash = Fnv::default();
        hash.write_u64(seed);
        hash.write(purpose.as_bytes());
        let mut rng = Self(hash.finish());
        rng.next();
        rng
    }

    /// The next 64 bits.
    pub(crate) fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    /// One of 0 … `n` - 1; 0 if `n` is 0.
    pub(crate) fn below(&mut self, n: u64) -> u64 {
        ((u128::from(self.next()) * u128::from(n)) >> 64) as u64
    }

    /// One of `low` … `high`.
    pub(crate) fn between(&mut self, low: u64, high: u64) -> u64 {
        low + self.below(high.saturating_sub(low) + 1)
    }

    /// True `permille` times in a thousand.
    pub(crate) fn chance(&mut self, permille: u32) -> bool {
        self.below(1_000) < u64::from(permille)
    }

    /// One of `from`.
    pub(crate) fn pick<T: Clone>(&mut self, from: &[T]) -> Option<T> {
        from.get(self.below(from.len() as u64) as usize).cloned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn streams_of_one_seed_differ_and_repeat() {
        let draw = |purpose| Rng::of(7, purpose).next();
        assert_eq!(draw("users"), draw("users"));
        assert_ne!(draw("users"), draw("chaos"));
        let mut rng = Rng::of(1, "range");
        assert!((0..1_000).all(|_| (3..=5).contains(&rng.between(3, 5))));
    }
}
