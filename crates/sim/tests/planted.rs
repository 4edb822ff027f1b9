//! Ten deliberate bugs in the engine, each behind a switch of its own: the simulation has to find every one.
//!
//! It says how many seeds each took, and the rule that it broke: on stderr, past the runner, which keeps for itself what
//! tests print that pass; and in `planted.txt` in the target folder's `tmp`, where it stays.
#![expect(clippy::disallowed_methods, reason = "it leaves a file; no world of it does")]

use everup_engine::bugs::{Bug, plant};
use everup_sim::{Broken, run};
use std::io::Write;
use std::path::Path;

/// So many seeds a bug may take. Without a bug these seeds break nothing: the simulation's own test runs them.
const SEEDS: u64 = 400;

/// The rule that a bug was made to break: found by another one, it may be another bug.
const fn breaks(bug: Bug) -> &'static str {
    match bug {
        Bug::SkipGreeting => "4: greeted, then ordered",
        Bug::AcceptLowerRev => "4: nothing goes backwards",
        Bug::TrustWallClock => "4: a lease that is renewed is not taken",
        Bug::OrderBeforeGrant => "4: a decision is written, then sent",
        Bug::SealAfterLapse => "no request fails because of us",
        Bug::SilentNewcomer => "8: a newcomer announces itself before it starts anything",
        Bug::StartOldAfterGrant | Bug::ForbiddenInRecord => "3: an app and its database's schema agree",
        Bug::MigrateAgain => "5: a migration runs at most once",
        Bug::RollBackUntouched => "6: only what was touched is rolled back",
    }
}

fn find(bug: Bug) -> Option<(u64, Broken)> {
    plant(Some(bug));
    let broken = |seed| run(seed).broken.filter(|broken| broken.rule == breaks(bug));
    let found = (1..=SEEDS).find_map(|seed| broken(seed).map(|broken| (seed, broken)));
    plant(None);
    found
}

/// Only what goes through `print!` is kept by the runner.
fn say(found: &mut String, line: &str) {
    // Without a stderr there is nobody to tell; the file has it.
    drop(std::io::stderr().write_all(format!("{line}\n").as_bytes()));
    found.push_str(line);
    found.push('\n');
}

#[test]
fn each_planted_bug_is_found() {
    let (mut missed, mut found) = (Vec::new(), String::new());
    for bug in Bug::ALL {
        match find(bug) {
            Some((seeds, Broken { rule, how })) => {
                say(&mut found, &format!("{bug:?}: found after {seeds} seeds\n  rule {rule}\n  {how}"));
            }
            None => {
                say(&mut found, &format!("{bug:?}: NOT found in {SEEDS} seeds"));
                missed.push(bug);
            }
        }
    }
    std::fs::write(Path::new(env!("CARGO_TARGET_TMPDIR")).join("planted.txt"), found).unwrap();
    assert!(missed.is_empty(), "not found: {missed:?}");
}
