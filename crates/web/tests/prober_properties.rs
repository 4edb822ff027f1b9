//! Properties of the prober's pure part: no hole is missed, and what more probers saw is never less.

use everup_core::receipt::Window;
use everup_core::time::{Millis, Mono, Wall};
use everup_engine::prober::{LATE, Log, Moment, Outcome, SLIGHT, Samples, measure, merge};
use proptest::prelude::*;

const AHEAD: u64 = 50_000;
const END: u64 = 30_000;

/// A prober that sleeps now and then: what it saw of [0, END], and the spans in which it slept.
fn with_pauses(interval: u64, pauses: &[(u64, u64)]) -> (Samples, Vec<(u64, u64)>) {
    let mut log = Log::new(Mono(0), Millis(interval));
    let (mut now, mut slept) = (0, Vec::new());
    let mut pauses = pauses.to_vec();
    pauses.sort_unstable();
    for (at, length) in pauses {
        while now < at {
            tick(&mut log, now);
            now += 7;
        }
        slept.push((now, now + length));
        now += length;
    }
    while now <= END + 2 * interval {
        tick(&mut log, now);
        now += 7;
    }
    (log.samples(all()), slept)
}

fn tick(log: &mut Log, now: u64) {
    let moment = Moment { mono: Mono(now), wall: Wall(AHEAD + now) };
    for slot in log.due(moment) {
        log.ended(slot, moment.wall, moment.wall + Millis(3), Outcome::Good);
    }
}

fn all() -> Window {
    Window { from: Wall(AHEAD), to: Wall(AHEAD + END) }
}

fn covers(missing: &[Window], at: u64) -> bool {
    missing.iter().any(|hole| hole.from.0 <= AHEAD + at && AHEAD + at <= hole.to.0)
}

fn length(missing: &[Window]) -> u64 {
    missing.iter().map(|hole| hole.to.since(hole.from).0).sum()
}

fn pauses() -> impl Strategy<Value = Vec<(u64, u64)>> {
    prop::collection::vec((0..END, 0..5_000_u64), 0..6)
}

fn arbitrary() -> impl Strategy<Value = Samples> {
    (10..500_u64, pauses()).prop_map(|(interval, pauses)| with_pauses(interval, &pauses).0)
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 64, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_pause_is_missed_and_none_is_made_up(interval in 10..500_u64, pauses in pauses()) {
        let (samples, slept) = with_pauses(interval, &pauses);
        let missing = measure(&samples, all()).missing;
        for (from, to) in &slept {
            // What was due early in a long pause was not sent: the middle of that part is a hole.
            if to - from > LATE.0 + 2 * interval + SLIGHT.0 && to - LATE.0 <= END {
                let middle = u64::midpoint(from + interval, to - LATE.0);
                prop_assert!(covers(&missing, middle), "slept {from}..{to}, missing {missing:?}");
            }
        }
        let total: u64 = slept.iter().map(|(from, to)| to - from).sum();
        prop_assert!(length(&missing) <= total, "missing more than was slept");
        for hole in &missing {
            let touches = |(from, to): &(u64, u64)| AHEAD + from <= hole.to.0 && hole.from.0 <= AHEAD + to + interval;
            prop_assert!(slept.iter().any(touches), "{hole:?} in no pause");
        }
    }

    #[test]
    fn another_prober_never_takes_away(one in arbitrary(), two in arbitrary(), three in arbitrary()) {
        let some = merge([one.clone(), two.clone()]);
        let more = merge([one.clone(), two.clone(), three.clone()]);
        let (some, most) = (measure(&some, all()), measure(&more, all()));
        prop_assert!(length(&most.missing) <= length(&some.missing));
        prop_assert!(most.requests.total >= some.requests.total && most.requests.failed >= some.requests.failed);
        for hole in &most.missing {
            let within = |known: &Window| known.from <= hole.from && hole.to <= known.to;
            prop_assert!(some.missing.iter().any(within), "a hole that was none before");
        }
        // And their order says nothing.
        prop_assert_eq!(&more, &merge([three, merge([two, one])]));
    }

    #[test]
    fn an_outage_shows_in_the_gap(from in 1_000..20_000_u64, length in 200..5_000_u64, interval in 10..100_u64) {
        let mut log = Log::new(Mono(0), Millis(interval));
        for now in 0..=END {
            let moment = Moment { mono: Mono(now), wall: Wall(AHEAD + now) };
            let is_out = (from..from + length).contains(&now);
            let outcome = if is_out { Outcome::Status(503) } else { Outcome::Good };
            for slot in log.due(moment) {
                log.ended(slot, moment.wall, moment.wall + Millis(1), outcome);
            }
        }
        let source = measure(&log.samples(all()), all());
        prop_assert!(source.requests.failed >= length / interval);
        prop_assert!(source.longest_gap_ms.abs_diff(length) <= interval + 1, "{}", source.longest_gap_ms);
    }
}
