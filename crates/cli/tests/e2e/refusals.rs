//! C19: the command that deploys is killed, then the coordinator, in every step; whoever presses again is refused at once
//! and told who deploys what. Nothing is left of the fifty refusals, and no lock of the killed ones.

use crate::harness::{Program, Setup, Step};
use crate::life::{AllAtOnce, Draining, Life, Rolling, Staging, Starting, Stopping, Way};
use everup_core::deployment::State;
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// A release that nobody has made ready yet.
const NEXT: &str = "10";

/// Refused so often before the coordinator is killed, and so often after it.
const TIMES: usize = 7;

fn refused_in_each(way: Way, steps: &[Step]) {
    let mut life = Life::begin(Setup::default().gate, way, 3);
    life.fleet.publish(NEXT, &Program::patient());
    let mut times = 0;
    for step in steps {
        let (ended, last) = life.meanwhile(*step, |life, _| {
            let before = kept(life);
            times += refused(life, step.state(way));
            life.fleet.kill_agent(&life.fleet.coordinator());
            times += refused(life, step.state(way));
            assert_eq!(kept(life), before, "{step:?}");
        });
        ended.succeeded_somehow();
        assert!(last.is_none_or(|answer| answer.starts_with("HTTP/1.1 200")));
        life.all_serve();
    }
    assert!(times >= 50, "only {times} were refused");
    // None of them left a lock.
    life.fleet.deploy(&[NEXT, "--strategy", way.word()]).succeeded_somehow();
    life.fleet.all_serve(3, NEXT);
    life.ends();
}

/// Each names the deployment that runs, to what, by whom, since when, and where it is.
fn refused(life: &Life, at: State) -> usize {
    let id = life.fleet.deployments().pop().unwrap();
    let says =
        [format!("deployment {id} to {}", life.version), "runs since 20".to_owned(), format!("now {at}")];
    for _ in 0..TIMES {
        let said = life.fleet.everup(&["deploy", NEXT]).ended(7);
        said.says(&says.each_ref().map(String::as_str)).says(&["asked for by"]);
    }
    assert_eq!(life.fleet.deployments().pop().unwrap(), id);
    TIMES
}

/// The names of all that is kept: in the store, and of releases that were made ready; but for the one that is being made
/// ready now.
fn kept(life: &Life) -> BTreeSet<PathBuf> {
    let mut found = BTreeSet::new();
    for folder in ["store", "releases"] {
        collect(&life.fleet.state().join(folder), &format!("{}-", life.version), &mut found);
    }
    found
}

fn collect(folder: &Path, but: &str, found: &mut BTreeSet<PathBuf>) {
    for entry in fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok) {
        let (path, name) = (entry.path(), entry.file_name());
        let name = name.to_string_lossy();
        // What begins with a point is being written, and gets its name when it is whole.
        if name.starts_with('.') || name.starts_with(but) {
            continue;
        }
        if name.ends_with(".body") {
            // An object, whose body has another name after each write.
            found.insert(folder.to_owned());
        } else if path.is_dir() {
            collect(&path, but, found);
        } else {
            found.insert(path);
        }
    }
}

#[test]
fn in_each_step_of_all_at_once() {
    refused_in_each(AllAtOnce, &Step::ALL);
}

#[test]
fn in_each_step_of_a_roll() {
    refused_in_each(Rolling, &[Staging, Draining, Stopping, Starting]);
}
