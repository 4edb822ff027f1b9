//! Worlds that always run with the tests: the accidents that the rules exist for, worlds without faults, and the same
//! world twice.

use everup_sim::{Accident, Outcome, run, run_accident};

fn well(outcome: &Outcome, name: &str) {
    if let Some(broken) = &outcome.broken {
        let story = &outcome.story[outcome.story.len().saturating_sub(60)..];
        panic!("{name}, seed {}: rule {}\n{}\n{}", outcome.seed, broken.rule, broken.how, story.join("\n"));
    }
}

#[test]
fn no_accident_breaks_a_rule() {
    for accident in Accident::ALL {
        for seed in 1..=6 {
            well(&run_accident(accident, seed), &format!("{accident:?}"));
        }
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
