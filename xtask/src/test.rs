//! `cargo xtask test`: every suite, from the programs that they need to the processes that they leave.

use crate::book::Book;
use crate::cargo::{PROFILE, binary, cargo, has_nextest, root, target};
use crate::counts::Counts;
use crate::leftovers::Scratch;
use crate::seaweed::Seaweed;
use crate::{demo, regenerate, tools};
use std::fs;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::time::Duration;

/// Cold, on two cores, with what S3 needs.
const BUILD: Duration = Duration::from_secs(45 * 60);
/// For all tests of a suite together; a single one is ended by nextest long before.
const TESTS: Duration = Duration::from_secs(30 * 60);
/// Two minutes is the bar for 2,000 seeds; a slow machine gets more.
const WORLDS: Duration = Duration::from_secs(10 * 60);

/// The tests that drive the real binary: apart, since each starts a fleet.
const END_TO_END: &str = "e2e";

/// They run with each kind of gate: the balancer's own slots, and a proxy of its own before each app, as on AWS.
const GATES: [(&str, &str, &str); 2] =
    [("e2e", "end to end", "slot"), ("e2e-proxy", "end to end, with proxies", "proxy")];

/// Runs the suites named, or all.
pub(crate) fn run(named: &[String]) -> ExitCode {
    let mut book = Book::default();
    match Scratch::new() {
        Ok(scratch) => all(&mut book, named, &scratch),
        Err(why) => drop(book.suite("a folder for this run", || Err(why))),
    }
    book.close()
}

fn all(book: &mut Book, named: &[String], scratch: &Scratch) {
    let wanted = |suite: &str| named.is_empty() || named.iter().any(|name| name == suite);
    let folder = scratch.path();
    book.suite("tools", tools::ensure);
    if !book.program("build", &mut build(), BUILD) {
        return;
    }
    let server = if ["units", "e2e", "e2e-proxy"].into_iter().any(wanted) { s3(book) } else { None };
    if wanted("units") {
        let mut tests = units();
        tests.envs(server.iter().flat_map(Seaweed::environment));
        book.runner("units", prepared(&mut tests, folder), TESTS);
    }
    if wanted("simulate") {
        book.program("simulate", &mut simulate(), WORLDS);
    }
    for (suite, title, gate) in GATES {
        if wanted(suite) {
            let mut tests = end_to_end();
            tests.envs(server.iter().flat_map(Seaweed::environment)).env("EVERUP_TEST_GATE", gate);
            book.runner(title, prepared(&mut tests, folder), TESTS);
        }
    }
    drop(server);
    if wanted("demo") {
        book.suite("demo", || demo::run(folder));
    }
    if wanted("guide") {
        book.suite("guide", regenerate::compare);
    }
    book.suite("nothing left running", || nothing_left(scratch));
}

/// A real S3 server, for the store's conformance suite and a fleet; without one those fail by themselves.
fn s3(book: &mut Book) -> Option<Seaweed> {
    let mut server = None;
    book.suite("an S3 server", || {
        let started = Seaweed::start(&target().join("tools")).map_err(|error| error.to_string())?;
        println!("SeaweedFS at {}", started.endpoint());
        server = Some(started);
        Ok(Counts::one(true))
    });
    server
}

fn build() -> Command {
    cargo(["build", "--profile", PROFILE, "--workspace", "--all-targets"])
}

/// Where a test may skip what the machine lacks, it may not here.
fn prepared<'a>(command: &'a mut Command, scratch: &Path) -> &'a mut Command {
    command.env("TMPDIR", scratch).env("PATH", tools::path()).env("EVERUP_TEST_REQUIRE", "1")
}

fn units() -> Command {
    if has_nextest() {
        return nextest(&format!("not binary(/^{END_TO_END}$/)"));
    }
    let mut command =
        cargo(["test", "--profile", PROFILE, "--workspace", "--no-fail-fast", "--lib", "--bins"]);
    for name in integration_tests() {
        command.args(["--test", &name]);
    }
    command
}

fn end_to_end() -> Command {
    if has_nextest() {
        return nextest(&format!("binary(/^{END_TO_END}$/)"));
    }
    let mut command =
        cargo(["test", "--profile", PROFILE, "--workspace", "--no-fail-fast", "--test", END_TO_END]);
    command.args(["--", "--test-threads", "2"]);
    command
}

fn nextest(filter: &str) -> Command {
    let mut command = cargo(["nextest", "run", "--cargo-profile", PROFILE, "--workspace", "--no-fail-fast"]);
    command.args(["--filterset", filter, "--show-progress", "none"]);
    command
}

/// Names of the files and folders below crates/*/tests that are test targets, but for the end-to-end ones.
fn integration_tests() -> Vec<String> {
    let folders = fs::read_dir(root().join("crates")).into_iter().flatten().filter_map(Result::ok);
    let entries = folders.filter_map(|folder| fs::read_dir(folder.path().join("tests")).ok()).flatten();
    let paths = entries.filter_map(Result::ok).map(|entry| entry.path());
    let targets = paths.filter(|path| path.is_file() || path.join("main.rs").is_file());
    let rust = targets.filter(|path| path.is_dir() || path.extension().is_some_and(|ending| ending == "rs"));
    let names = rust.filter_map(|path| Some(path.file_stem()?.to_str()?.to_owned()));
    let mut names: Vec<_> = names.filter(|name| name != END_TO_END).collect();
    names.sort();
    names.dedup();
    names
}

/// 2,000 worlds, and some of them once more in a second process.
fn simulate() -> Command {
    let mut command = Command::new(binary("simulate"));
    command.args(["--seeds", "2000", "--check-replay", "20"]);
    command
}

fn nothing_left(scratch: &Scratch) -> Result<Counts, String> {
    let found = scratch.sweep();
    for process in &found {
        println!("left running, ended now: {process}");
    }
    Ok(Counts::one(found.is_empty()))
}
