use super::*;
use everup_core::receipt::Window;
use everup_core::time::{Mono, Wall};

/// The wall clock is this much ahead of the monotonic one.
const AHEAD: u64 = 1_000_000;

fn at(ms: u64) -> Moment {
    Moment { mono: Mono(ms), wall: Wall(AHEAD + ms) }
}

fn window(from: u64, to: u64) -> Window {
    Window { from: Wall(AHEAD + from), to: Wall(AHEAD + to) }
}

/// Runs the schedule from `from` to `to`, each request answered after 5 ms as `outcome` says.
fn run(log: &mut Log, from: u64, to: u64, outcome: impl Fn(u64) -> Outcome) {
    for ms in from..to {
        for slot in log.due(at(ms)) {
            log.ended(slot, at(ms).wall, at(ms + 5).wall, outcome(ms));
        }
    }
}

fn good(_: u64) -> Outcome {
    Outcome::Good
}

#[test]
fn requests_are_due_by_the_schedule_whatever_became_of_those_before() {
    let mut log = Log::new(Mono(0), Millis(50));
    let due = |log: &mut Log, ms| log.due(at(ms)).iter().map(|slot| slot.due.0 - AHEAD).collect::<Vec<_>>();
    assert_eq!(due(&mut log, 0), [0]);
    assert_eq!(due(&mut log, 49), [0_u64; 0]);
    assert_eq!(due(&mut log, 163), [50, 100, 150]);
    assert_eq!(log.next(), Mono(200));
}

#[test]
fn a_change_of_pace_begins_at_once_and_leaves_no_hole() {
    let mut log = Log::new(Mono(0), Millis(1_000));
    run(&mut log, 0, 2_300, good);
    log.pace(Mono(2_300), Millis(50));
    log.pace(Mono(2_310), Millis(50));
    run(&mut log, 2_300, 4_020, good);
    log.pace(Mono(4_020), Millis(1_000));
    run(&mut log, 4_020, 6_000, good);
    let seen = log.samples(window(0, 6_000));
    assert_eq!(seen.seen, [window(0, 6_020)]);
    assert_eq!(seen.samples.len(), 3 + 35 + 2);
}

#[test]
fn a_pause_of_the_prober_is_a_hole_and_no_gap_of_the_service() {
    let mut log = Log::new(Mono(0), Millis(50));
    run(&mut log, 0, 2_000, good);
    // Stopped for 5 s.
    run(&mut log, 7_000, 9_000, good);
    let source = measure(&log.samples(window(0, 9_000)), window(0, 8_900));
    assert_eq!(source.missing, [window(2_000, 6_000)]);
    assert_eq!((source.requests.failed, source.longest_gap_ms), (0, 5));
}

#[test]
fn a_request_that_is_under_way_is_not_seen_until_it_ends() {
    let mut log = Log::new(Mono(0), Millis(1_000));
    let slots: Vec<Slot> = (0..5).flat_map(|s| log.due(at(s * 1_000))).collect();
    for slot in &slots[..4] {
        log.ended(*slot, slot.due, slot.due + Millis(3), Outcome::Good);
    }
    assert!(!log.is_settled(window(0, 5_000)) && log.is_settled(window(0, 3_999)));
    assert_eq!(measure(&log.samples(window(0, 5_000)), window(0, 5_000)).missing, [window(4_000, 5_000)]);
    log.ended(slots[4], slots[4].due, slots[4].due + Millis(30_000), Outcome::TimedOut);
    let source = measure(&log.samples(window(0, 5_000)), window(0, 5_000));
    assert!(log.is_settled(window(0, 5_000)) && source.missing.is_empty());
    assert_eq!((source.requests.total, source.requests.failed, source.requests.outcome_unknown), (5, 1, 1));
    assert_eq!(source.longest_gap_ms, 1_000);
}

#[test]
fn an_outage_is_counted_and_measured_to_within_one_interval() {
    let mut log = Log::new(Mono(0), Millis(50));
    let outage = |ms: u64| if (1_000..1_730).contains(&ms) { Outcome::Refused } else { Outcome::Good };
    run(&mut log, 0, 3_000, outage);
    let source = measure(&log.samples(window(0, 3_000)), window(0, 3_000));
    assert_eq!((source.requests.total, source.requests.failed, source.requests.outcome_unknown), (60, 15, 0));
    assert_eq!(source.longest_gap_ms, 755);
    assert!(source.missing.is_empty());
}

#[test]
fn what_a_request_waited_for_its_turn_counts() {
    let mut log = Log::new(Mono(0), Millis(100));
    // 300 ms late, answered within 5: the first took 305.
    let late = log.due(at(300));
    assert_eq!(late.len(), 4);
    for slot in late {
        log.ended(slot, at(300).wall, at(305).wall, Outcome::Good);
    }
    let source = measure(&log.samples(window(0, 300)), window(0, 399));
    assert_eq!((source.p50_ms.during, source.p99_ms.during), (Some(105), Some(305)));
    // And the gap is the service's alone.
    assert_eq!(source.longest_gap_ms, 5);
}

#[test]
fn before_and_during_are_apart_and_an_empty_sample_has_no_figures() {
    let mut log = Log::new(Mono(0), Millis(100));
    run(&mut log, 0, 10_000, good);
    let source = measure(&log.samples(window(0, 20_000)), window(5_000, 9_900));
    assert_eq!((source.p99_ms.before, source.p99_ms.during), (Some(5), Some(5)));
    assert_eq!(source.requests.total, 50);
    let nothing = measure(&Samples::default(), window(0, 5_000));
    assert_eq!((nothing.p99_ms.before, nothing.requests.total), (None, 0));
    assert_eq!(nothing.missing, [window(0, 5_000)]);
}

#[test]
fn a_slow_request_beside_quick_ones_is_no_gap() {
    let mut log = Log::new(Mono(0), Millis(100));
    let slow = log.due(at(0))[0];
    run(&mut log, 1, 4_000, good);
    log.ended(slow, at(0).wall, at(3_333).wall, Outcome::Good);
    assert_eq!(measure(&log.samples(window(0, 4_000)), window(0, 4_000)).longest_gap_ms, 105);
}

#[test]
fn memory_is_bounded_also_after_a_long_sleep() {
    let mut log = Log::new(Mono(0), Millis(50));
    run(&mut log, 0, 100, good);
    let slots = log.due(at(400 * 24 * 3_600_000));
    assert_eq!(slots.len(), 21);
    let all = log.samples(window(0, u64::MAX / 2));
    assert!(all.samples.is_empty());
    // An answer to what was forgotten is not taken for another's.
    log.ended(Slot { number: 0, due: Wall(AHEAD) }, Wall(1), Wall(2), Outcome::Cut);
    assert!(log.samples(window(0, u64::MAX / 2)).samples.is_empty());
}

#[test]
fn a_wall_clock_that_jumps_leaves_a_hole_and_the_schedule_goes_on() {
    let mut log = Log::new(Mono(0), Millis(1_000));
    for second in 0..10 {
        let jump = if second < 5 { 0 } else { 60_000 };
        let now = Moment { mono: Mono(second * 1_000), wall: Wall(AHEAD + second * 1_000 + jump) };
        for slot in log.due(now) {
            log.ended(slot, now.wall, now.wall + Millis(5), Outcome::Good);
        }
    }
    let source = measure(&log.samples(window(0, 70_000)), window(0, 70_000));
    assert_eq!((source.requests.total, source.missing), (10, vec![window(5_000, 65_000)]));
}

#[test]
fn two_probers_fill_each_others_holes() {
    let (mut one, mut two) = (Log::new(Mono(0), Millis(50)), Log::new(Mono(0), Millis(50)));
    run(&mut one, 0, 2_000, good);
    run(&mut one, 7_000, 10_000, good);
    run(&mut two, 0, 1_000, good);
    run(&mut two, 4_000, 10_000, good);
    let all = window(0, 9_900);
    let merged = merge([one.samples(all), two.samples(all)]);
    assert_eq!(measure(&merged, all).missing, [window(2_000, 3_000)]);
    assert_eq!(merged.samples.len(), one.samples(all).samples.len() + two.samples(all).samples.len());
}

#[test]
fn what_the_prober_slept_over_is_no_failure_of_the_service() {
    let mut log = Log::new(Mono(0), Millis(50));
    run(&mut log, 0, 1_000, good);
    // It sleeps for 40 s, with a request under way that has no time left when it wakes.
    let asked = log.due(at(1_000));
    log.due(at(41_000));
    log.ended(asked[0], at(1_000).wall, at(41_010).wall, Outcome::TimedOut);
    run(&mut log, 41_050, 42_000, good);
    let source = measure(&log.samples(window(0, 42_000)), window(0, 42_000));
    assert_eq!(source.requests.failed, 0);
    assert!(!source.missing.is_empty(), "it is a hole");
    // Without a sleep the same end is a failure.
    let mut log = Log::new(Mono(0), Millis(50));
    let asked = log.due(at(0));
    run(&mut log, 50, 31_000, good);
    log.ended(asked[0], at(0).wall, at(30_000).wall, Outcome::TimedOut);
    assert_eq!(measure(&log.samples(window(0, 31_000)), window(0, 31_000)).requests.failed, 1);
}
