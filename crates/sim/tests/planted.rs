//! Ten deliberate bugs in the engine, each behind a switch of its own: the simulation has to find every one.
//!
//! It prints how many seeds each took, and the rule that it broke.
#![expect(clippy::print_stdout, reason = "the numbers are the point of this test")]

use everup_engine::bugs::{Bug, plant};
use everup_sim::{Broken, run};

/// So many seeds a bug may take. Without a bug these seeds break nothing: the simulation's own test runs them.
const SEEDS: u64 = 400;

fn find(bug: Bug) -> Option<(u64, Broken)> {
    plant(Some(bug));
    let found = (1..=SEEDS).find_map(|seed| run(seed).broken.map(|broken| (seed, broken)));
    plant(None);
    found
}

#[test]
fn each_planted_bug_is_found() {
    let missed: Vec<Bug> = Bug::ALL
        .into_iter()
        .filter(|bug| match find(*bug) {
            Some((seeds, Broken { rule, how })) => {
                println!("{bug:?}: found after {seeds} seeds\n  rule {rule}\n  {how}");
                false
            }
            None => {
                println!("{bug:?}: NOT found in {SEEDS} seeds");
                true
            }
        })
        .collect();
    assert!(missed.is_empty(), "not found: {missed:?}");
}
