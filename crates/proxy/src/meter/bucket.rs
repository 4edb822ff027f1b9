//! What ended in one second, as a record of fixed size.

use super::histogram::{BUCKETS, Histogram};
use everup_core::receipt::{Held, Requests};
use std::time::Duration;

/// The size of a record in the file.
pub(super) const SIZE: usize = 1_024;

/// The counts of one second.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bucket {
    /// Seconds since 1970.
    pub(super) second: u64,
    pub(super) requests: Requests,
    pub(super) held: Held,
    pub(super) late: u64,
    pub(super) longest_gap_ms: u64,
    pub(super) latency: Histogram,
}

const NUMBERS: usize = 11;

impl Bucket {
    pub(super) fn new(second: u64) -> Self {
        Self { second, ..Self::default() }
    }

    /// A request waited for so long.
    pub(super) fn waited(&mut self, span: Duration) {
        self.held.count += 1;
        self.held.longest_ms = self.held.longest_ms.max(u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
    }

    pub(super) fn merge(&mut self, other: &Self) {
        let Requests { total, failed, outcome_unknown, ended_by_design, left_while_held, refused } =
            other.requests;
        self.requests.total += total;
        self.requests.failed += failed;
        self.requests.outcome_unknown += outcome_unknown;
        self.requests.ended_by_design += ended_by_design;
        self.requests.left_while_held += left_while_held;
        self.requests.refused += refused;
        self.held.count += other.held.count;
        self.held.longest_ms = self.held.longest_ms.max(other.held.longest_ms);
        self.late += other.late;
        self.longest_gap_ms = self.longest_gap_ms.max(other.longest_gap_ms);
        self.latency.merge(&other.latency);
    }

    fn numbers(&self) -> [u64; NUMBERS] {
        let Requests { total, failed, outcome_unknown, ended_by_design, left_while_held, refused } =
            self.requests;
        let Held { count, longest_ms } = self.held;
        [
            self.second,
            total,
            failed,
            outcome_unknown,
            ended_by_design,
            left_while_held,
            refused,
            count,
            longest_ms,
            self.late,
            self.longest_gap_ms,
        ]
    }

    pub(super) fn encode(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        let numbers = self.numbers().into_iter().flat_map(u64::to_le_bytes);
        let latency = self.latency.0.iter().flat_map(|n| n.to_le_bytes());
        bytes.iter_mut().zip(numbers.chain(latency)).for_each(|(to, from)| *to = from);
        bytes
    }

    pub(super) fn decode(bytes: &[u8; SIZE]) -> Self {
        let (numbers, rest) = bytes.split_at(NUMBERS * 8);
        let mut numbers = numbers.as_chunks().0.iter().map(|n| u64::from_le_bytes(*n));
        let mut next = || numbers.next().unwrap_or_default();
        let mut bucket = Self::new(next());
        bucket.requests = Requests {
            total: next(),
            failed: next(),
            outcome_unknown: next(),
            ended_by_design: next(),
            left_while_held: next(),
            refused: next(),
        };
        bucket.held = Held { count: next(), longest_ms: next() };
        bucket.late = next();
        bucket.longest_gap_ms = next();
        let latency = rest.as_chunks().0.iter().take(BUCKETS);
        bucket.latency.0.iter_mut().zip(latency).for_each(|(to, from)| *to = u32::from_le_bytes(*from));
        bucket
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_whole() {
        let mut bucket = Bucket::new(1_790_000_000);
        bucket.requests = Requests {
            total: 1,
            failed: 2,
            outcome_unknown: 3,
            ended_by_design: 4,
            left_while_held: 5,
            refused: 6,
        };
        bucket.waited(Duration::from_millis(7));
        bucket.late = 8;
        bucket.longest_gap_ms = 9;
        bucket.latency.record(Duration::from_secs(200));
        assert_eq!(Bucket::decode(&bucket.encode()), bucket);
    }
}
