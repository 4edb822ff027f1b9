//! What ended in one second, as a record of fixed size.

use super::histogram::{BUCKETS, Histogram};
use everup_core::receipt::{Held, Requests};
use everup_core::time::Millis;
use std::time::Duration;

/// The size of a record in the file.
pub(super) const SIZE: usize = 2_048;

/// Requests are counted by the tenth of a second: a failure just before a deployment is not the deployment's. For
/// latencies and waits the second is fine enough.
pub(super) const TENTHS: usize = 10;

/// The counts of one second.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Bucket {
    /// Seconds since 1970.
    pub(super) second: u64,
    pub(super) requests: [Requests; TENTHS],
    pub(super) held: Held,
    pub(super) late: u64,
    pub(super) longest_gap_ms: u64,
    pub(super) latency: Histogram,
}

/// Second, held, longest hold, late, longest gap.
const NUMBERS: usize = 5;
/// The fields of [`Requests`].
const FIELDS: usize = 6;

const _: () = assert!((NUMBERS + TENTHS * FIELDS) * 8 + BUCKETS * 4 <= SIZE, "a record fits its place");

impl Bucket {
    pub(super) fn new(second: u64) -> Self {
        Self { second, ..Self::default() }
    }

    /// All requests of this second.
    pub(super) fn total(&self) -> Requests {
        let mut sum = Requests::default();
        self.requests.iter().for_each(|tenth| add(&mut sum, tenth));
        sum
    }

    /// Only the requests from the tenth `from` to the tenth `to`, both included.
    pub(super) fn within(mut self, from: usize, to: usize) -> Self {
        let outside = |tenth: usize| tenth < from || tenth > to;
        let tenths = self.requests.iter_mut().enumerate();
        tenths.filter(|(tenth, _)| outside(*tenth)).for_each(|(_, requests)| *requests = Requests::default());
        self
    }

    /// What had begun before a window counts for as long as it was inside.
    pub(super) fn no_longer_than(mut self, span: Millis) -> Self {
        self.held.longest_ms = self.held.longest_ms.min(span.0);
        self.longest_gap_ms = self.longest_gap_ms.min(span.0);
        self
    }

    /// A request waited for so long.
    pub(super) fn waited(&mut self, span: Duration) {
        self.held.count += 1;
        self.held.longest_ms = self.held.longest_ms.max(u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
    }

    /// Nobody was answered for so long.
    pub(super) fn gap(&mut self, span: Duration) {
        self.longest_gap_ms = self.longest_gap_ms.max(u64::try_from(span.as_millis()).unwrap_or(u64::MAX));
    }

    pub(super) fn merge(&mut self, other: &Self) {
        self.requests.iter_mut().zip(&other.requests).for_each(|(sum, tenth)| add(sum, tenth));
        self.held.count += other.held.count;
        self.held.longest_ms = self.held.longest_ms.max(other.held.longest_ms);
        self.late += other.late;
        self.longest_gap_ms = self.longest_gap_ms.max(other.longest_gap_ms);
        self.latency.merge(&other.latency);
    }

    pub(super) fn encode(&self) -> [u8; SIZE] {
        let mut bytes = [0; SIZE];
        let Held { count, longest_ms } = self.held;
        let numbers: [u64; NUMBERS] = [self.second, count, longest_ms, self.late, self.longest_gap_ms];
        let numbers = numbers.into_iter().flat_map(u64::to_le_bytes);
        let requests = self.requests.iter().flat_map(fields).flat_map(u64::to_le_bytes);
        let latency = self.latency.0.iter().flat_map(|n| n.to_le_bytes());
        let all = numbers.chain(requests).chain(latency);
        bytes.iter_mut().zip(all).for_each(|(to, from)| *to = from);
        bytes
    }

    pub(super) fn decode(bytes: &[u8; SIZE]) -> Self {
        let (numbers, latency) = bytes.split_at((NUMBERS + TENTHS * FIELDS) * 8);
        let mut numbers = numbers.as_chunks().0.iter().map(|n| u64::from_le_bytes(*n));
        let mut next = || numbers.next().unwrap_or_default();
        let mut bucket = Self::new(next());
        bucket.held = Held { count: next(), longest_ms: next() };
        bucket.late = next();
        bucket.longest_gap_ms = next();
        for requests in &mut bucket.requests {
            *requests = Requests {
                total: next(),
                failed: next(),
                outcome_unknown: next(),
                ended_by_design: next(),
                left_while_held: next(),
                refused: next(),
            };
        }
        let latency = latency.as_chunks().0.iter().take(BUCKETS);
        bucket.latency.0.iter_mut().zip(latency).for_each(|(to, from)| *to = u32::from_le_bytes(*from));
        bucket
    }
}

fn fields(requests: &Requests) -> [u64; FIELDS] {
    let Requests { total, failed, outcome_unknown, ended_by_design, left_while_held, refused } = *requests;
    [total, failed, outcome_unknown, ended_by_design, left_while_held, refused]
}

fn add(sum: &mut Requests, more: &Requests) {
    let Requests { total, failed, outcome_unknown, ended_by_design, left_while_held, refused } = *more;
    sum.total += total;
    sum.failed += failed;
    sum.outcome_unknown += outcome_unknown;
    sum.ended_by_design += ended_by_design;
    sum.left_while_held += left_while_held;
    sum.refused += refused;
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_record_comes_back_whole() {
        let mut bucket = Bucket::new(1_790_000_000);
        bucket.requests[3] = Requests {
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
