//! Worlds that always run with the tests: the accidents that the rules exist for, worlds without faults, and the same
//! world twice.

use everup_sim::{Accident, Outcome, run, run_accident};

fn well(outcome: &Outcome, name: &str) {
    if let Some(broken) = &outcome.broken {
        let story = &outcome.story[outcome.story.len().saturating_sub(60)..];
        panic!("{name}, seed {}: rule {}\n{}\n{}", outcome.seed, broken.rule, broken.how, story.join("\n"));
    }
}

/// So many worlds each; in some of them the accident has to happen, or they would be green for nothing.
const WORLDS: u64 = 8;

#[test]
fn every_accident_happens_and_breaks_no_rule() {
    let mut never = Vec::new();
    for accident in Accident::ALL {
        let outcomes: Vec<Outcome> = (1..=WORLDS).map(|seed| run_accident(accident, seed)).collect();
        for outcome in &outcomes {
            well(outcome, &format!("{accident:?}"));
        }
        let happened = outcomes.iter().filter(|outcome| accident.happened(outcome)).count();
        if happened == 0 {
            never.push(accident);
        }
    }
    assert!(never.is_empty(), "in none of {WORLDS} worlds each did these happen: {never:?}");
}

/// Worlds that broke a rule once, and by what.
const ONCE: [(u64, &str); 5] = [
    (151, "a first deployment failed, and did not name who was left"),
    (177, "an app that was started again ended a staging that had not ended"),
    (276, "a deployment that touched nobody gave newcomers another release"),
    (650, "the same as 177, in a roll"),
    (84_854, "who asked was refused because of his own deployment: his write was told to have failed"),
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
