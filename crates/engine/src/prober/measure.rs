//! What samples say of a window.

use super::samples::{holes, union};
use super::{BEFORE, Outcome, Sample, Samples};
use everup_core::receipt::{Held, Percentile, Requests, Source, Window};
use everup_core::time::{Millis, Wall};

/// The figures of `window`. The samples should reach back to [`BEFORE`] its beginning.
#[must_use]
pub fn measure(samples: &Samples, window: Window) -> Source {
    let before = Window { from: window.from - BEFORE, to: window.from };
    let earlier = took(samples.samples.iter().filter(|s| before.from <= s.due && s.due < before.to));
    let inside: Vec<Sample> =
        samples.samples.iter().copied().filter(|s| window.from <= s.due && s.due <= window.to).collect();
    let during = took(inside.iter());
    let of = |n| Percentile { before: percentile(&earlier, n), during: percentile(&during, n), after: None };
    Source {
        requests: requests(&inside),
        longest_gap_ms: longest_gap(&inside, window.to).0,
        p50_ms: of(50),
        p99_ms: of(99),
        held: Held::default(),
        late: 0,
        missing: holes(&union(samples.seen.clone()), window),
    }
}

fn requests(inside: &[Sample]) -> Requests {
    let count = |is: fn(Outcome) -> bool| inside.iter().filter(|sample| is(sample.outcome)).count() as u64;
    Requests {
        total: inside.len() as u64,
        failed: count(|outcome| outcome != Outcome::Good),
        outcome_unknown: count(|outcome| matches!(outcome, Outcome::Cut | Outcome::TimedOut)),
        ..Requests::default()
    }
}

/// What answered requests took, sorted.
fn took<'a>(samples: impl Iterator<Item = &'a Sample>) -> Vec<Millis> {
    let answered = |sample: &&Sample| matches!(sample.outcome, Outcome::Good | Outcome::Status(_));
    let mut took: Vec<Millis> = samples.filter(answered).map(Sample::took).collect();
    took.sort_unstable();
    took
}

/// The smallest value that is not exceeded by `percent` of a hundred; nothing of an empty sample.
fn percentile(sorted: &[Millis], percent: usize) -> Option<u64> {
    let rank = (sorted.len() * percent).div_ceil(100).max(1);
    sorted.get(rank - 1).map(|value| value.0)
}

/// The longest time in which requests were under way and none ended well: from the first that was sent after a
/// good end to the next good end. Counted from `sent`, since a pause of the prober is not the service's.
fn longest_gap(samples: &[Sample], to: Wall) -> Millis {
    let mut moments: Vec<(Wall, bool)> = samples.iter().map(|sample| (sample.sent, false)).collect();
    moments.extend(samples.iter().filter(|s| s.outcome == Outcome::Good).map(|s| (s.ended.min(to), true)));
    moments.push((to, true));
    moments.sort_unstable();
    let (mut asked, mut longest) = (None, Millis::ZERO);
    for (at, is_good) in moments {
        if !is_good {
            asked.get_or_insert(at);
        } else if let Some(since) = asked.take() {
            longest = longest.max(at.since(since));
        }
    }
    longest
}
