//! Worlds that always run with the tests: the accidents that the rules exist for, worlds without faults, and the same
//! world twice.

use everup_sim::{Accident, Outcome, run, run_accident};

fn well(outcome: &Outcome, name: &str) {
    if let Some(broken) = &outcome.broken {
        let story = &outcome.story[outcome.story.len().saturating_sub(60)..];
        panic!("{name}, seed {}: rule {}\n{}\n{}", outcome.seed, broken.rule, broken.how, story.join("\n"));
    }
}

/// So many worlds each at least, and on to so many until the accident has happened in one: else they would be green for nothing.
const WORLDS: std::ops::Range<u64> = 10..80;

#[test]
fn every_accident_happens_and_breaks_no_rule() {
    let mut never = Vec::new();
    for accident in Accident::ALL {
        let mut happened = false;
        for seed in 1..=WORLDS.end {
            let outcome = run_accident(accident, seed);
            well(&outcome, &format!("{accident:?}"));
            happened |= accident.happened(&outcome);
            if happened && seed >= WORLDS.start {
                break;
            }
        }
        if !happened {
            never.push(accident);
        }
    }
    assert!(never.is_empty(), "in none of {} worlds each did these happen: {never:?}", WORLDS.end);
}

/// Worlds that broke a rule once, and by what.
const ONCE: [(u64, &str); 15] = [
    (151, "a first deployment failed, and did not name who was left"),
    (177, "an app that was started again ended a staging that had not ended"),
    (276, "a deployment that touched nobody gave newcomers another release"),
    (650, "the same as 177, in a roll"),
    (84_854, "who asked was refused because of his own deployment: his write was told to have failed"),
    (901_573, "a newcomer had taken the new release, which the last thing that it had said did not show"),
    (911_283, "of those who fell out of service the sixth was named nowhere"),
    (2_002_718, "a gate that did not answer was taken for one that is shut, and the last instance left"),
    (2_003_184, "an update that was given up was begun anew by an agent that restarted"),
    (2_006_925, "after its agent's restart it was not known which of two apps serves"),
    (2_007_067, "newcomers took a release, and the next deployment went back to another"),
    (2_010_382, "who was being ended, with two apps, was not counted to max_overlap"),
    (2_018_447, "all at once: one served the new release, and newcomers took the old one"),
    (2_038_938, "who could not make a release ready was told to move all the same"),
    (2_047_114, "requests were sent to an app that was coming up, when the one that served died"),
];

#[test]
fn what_was_mended_stays_mended() {
    for (seed, what) in ONCE {
        well(&run(seed), what);
    }
}

/// Also what the rules do not say everywhere: without faults nothing fails at all.
#[test]
fn worlds_without_faults_serve_every_request() {
    let calm: Vec<Outcome> = (1..=120).map(run).filter(|outcome| outcome.faults.is_empty()).take(8).collect();
    assert!(calm.len() >= 4, "too few of the worlds have no faults");
    for outcome in &calm {
        well(outcome, "a world without faults");
        assert_eq!(outcome.requests.1, 0, "seed {}", outcome.seed);
        assert!(outcome.requests.0 > 0, "seed {}", outcome.seed);
    }
}

#[test]
fn the_same_seed_is_the_same_world() {
    for seed in 21..=26 {
        let (one, two) = (run(seed), run(seed));
        assert_eq!((one.hash, one.events, one.polls), (two.hash, two.events, two.polls), "seed {seed}");
    }
    assert_ne!(run(21).hash, run(22).hash);
}
