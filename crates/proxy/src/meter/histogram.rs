//! A histogram of latencies: eight buckets an octave, from 64 µs to over two minutes; mergeable, of fixed size.

use std::time::Duration;

const SUB_BITS: u32 = 3;
/// Anything faster is counted as 2^6 = 64 µs.
const LOWEST_BIT: u32 = 6;
/// Anything slower is counted as 2^27 µs, 134 s: longer than any time limit of ours.
const OCTAVES: usize = 21;
/// How many buckets there are.
pub(super) const BUCKETS: usize = OCTAVES << SUB_BITS;

/// How many requests took how long.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Histogram(pub(super) [u32; BUCKETS]);

impl Default for Histogram {
    fn default() -> Self {
        Self([0; BUCKETS])
    }
}

impl Histogram {
    pub(super) fn record(&mut self, took: Duration) {
        let bucket = &mut self.0[index(u64::try_from(took.as_micros()).unwrap_or(u64::MAX))];
        *bucket = bucket.saturating_add(1);
    }

    pub(super) fn merge(&mut self, other: &Self) {
        for (mine, theirs) in self.0.iter_mut().zip(&other.0) {
            *mine = mine.saturating_add(*theirs);
        }
    }

    /// Milliseconds that `permille` of all did not exceed; nothing when there were none.
    pub(super) fn permille(&self, permille: u64) -> Option<u64> {
        let total: u64 = self.0.iter().map(|n| u64::from(*n)).sum();
        let wanted = (total * permille).div_ceil(1_000).max(1);
        let mut seen = 0;
        let bucket = self.0.iter().position(|n| {
            seen += u64::from(*n);
            seen >= wanted
        })?;
        Some(upper_micros(bucket).div_ceil(1_000))
    }
}

fn index(micros: u64) -> usize {
    let micros = micros.clamp(1 << LOWEST_BIT, (1 << (LOWEST_BIT as usize + OCTAVES)) - 1);
    let bit = micros.ilog2();
    let sub = (micros >> (bit - SUB_BITS)) & ((1 << SUB_BITS) - 1);
    (((bit - LOWEST_BIT) as usize) << SUB_BITS) + usize::try_from(sub).expect("three bits")
}

fn upper_micros(bucket: usize) -> u64 {
    let (octave, sub) = (bucket >> SUB_BITS, bucket & ((1 << SUB_BITS) - 1));
    let low = 1_u64 << (octave as u32 + LOWEST_BIT);
    low + (low >> SUB_BITS) * (sub as u64 + 1) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_right_within_an_eighth() {
        let mut histogram = Histogram::default();
        for ms in 1..=1_000 {
            histogram.record(Duration::from_millis(ms));
        }
        let (p50, p99) = (histogram.permille(500).unwrap(), histogram.permille(990).unwrap());
        assert!((500..563).contains(&p50), "{p50}");
        assert!((990..1_114).contains(&p99), "{p99}");
    }

    #[test]
    fn the_ends_are_counted_too() {
        let mut histogram = Histogram::default();
        assert_eq!(histogram.permille(990), None, "an empty sample has no percentile");
        histogram.record(Duration::ZERO);
        assert_eq!(histogram.permille(990), Some(1));
        histogram.record(Duration::from_secs(3_600));
        assert_eq!(histogram.permille(1_000), Some(134_218));
    }

    #[test]
    fn buckets_follow_each_other() {
        for bucket in 0..BUCKETS {
            assert_eq!(index(upper_micros(bucket)), bucket);
            assert!(bucket + 1 == BUCKETS || index(upper_micros(bucket) + 1) == bucket + 1);
        }
    }
}
