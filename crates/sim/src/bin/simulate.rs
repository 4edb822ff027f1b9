//! Runs worlds: `--seeds N [--first-seed K]`, or one of them, with its story: `--seed N [--trace-hash]`.
#![expect(
    clippy::print_stdout,
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "this is its command line; stdout is its data, and it tells how long the worlds took"
)]

use everup_sim::{Outcome, Report, run, tell};
use std::process::{Command, ExitCode};
use std::thread;

const USAGE: &str = "usage: simulate --seeds N [--first-seed K] [--check-replay K] [--stories N]
       simulate --seed N [--trace-hash]

  --seeds N         run N worlds, on two threads
  --first-seed K    beginning with seed K (1)
  --check-replay K  run the first K of them in a second process, too, and compare every event
  --stories N       print the last N events of the first world that breaks a rule, or of the one of --seed (60)
  --seed N          run one world and print its story
  --trace-hash      print nothing but a hash of all its events";

/// What the command line says.
struct Args {
    first: u64,
    seeds: u64,
    replay: u64,
    story: usize,
    hash: bool,
}

fn main() -> ExitCode {
    let args = match parse(std::env::args().skip(1)) {
        Ok(args) => args,
        Err(what) => {
            eprintln!("{what}\n\n{USAGE}");
            return ExitCode::from(2);
        }
    };
    if args.hash {
        println!("{:016x}", run(args.first).hash);
        return ExitCode::SUCCESS;
    }
    let began = std::time::Instant::now();
    let report = if args.seeds == 1 { one(&args) } else { run_all(args.first, args.seeds) };
    let took = began.elapsed();
    print!("{report}");
    let rate = report.events as f64 / took.as_secs_f64();
    println!("\n{:.1} s, {rate:.0} events a second", took.as_secs_f64());
    if let Some(failure) = report.failures.first().filter(|_| args.seeds > 1) {
        print_story(failure, args.story);
    }
    let missing = report.not_covered();
    for what in &missing {
        eprintln!("{what}: these worlds prove less than they say");
    }
    let differ = differing(args.first, args.replay.min(args.seeds));
    for seed in &differ {
        eprintln!("seed {seed} went another way in a second process");
    }
    if report.failures.is_empty() && differ.is_empty() && missing.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

fn parse(mut words: impl Iterator<Item = String>) -> Result<Args, String> {
    let mut args = Args { first: 1, seeds: 0, replay: 0, story: 60, hash: false };
    while let Some(word) = words.next() {
        let mut number = || {
            let text = words.next().ok_or_else(|| format!("{word} needs a number"))?;
            text.parse::<u64>().map_err(|_| format!("{word} needs a number, not {text:?}"))
        };
        match word.as_str() {
            "--seeds" => args.seeds = number()?,
            "--first-seed" => args.first = number()?,
            "--check-replay" => args.replay = number()?,
            "--stories" => args.story = number()? as usize,
            "--seed" => (args.first, args.seeds, args.story) = (number()?, 1, 4_000),
            "--trace-hash" => args.hash = true,
            other => return Err(format!("there is no {other:?}")),
        }
    }
    if args.seeds == 0 { Err("say how many seeds".to_owned()) } else { Ok(args) }
}

/// One world, with its story.
fn one(args: &Args) -> Report {
    let outcome = tell(args.first);
    print_story(&outcome, args.story);
    let mut report = Report::default();
    report.add(outcome);
    report
}

/// Two threads, each with worlds of its own: a world never leaves its thread.
fn run_all(first: u64, seeds: u64) -> Report {
    let half = |offset: u64| {
        let mut report = Report::default();
        for seed in (first..first + seeds).skip(offset as usize).step_by(2) {
            report.add(run(seed));
        }
        report
    };
    thread::scope(|scope| {
        let other = scope.spawn(|| half(1));
        let mut report = half(0);
        report.merge(other.join().expect("a world does not panic"));
        report.failures.sort_by_key(|failure| failure.seed);
        report
    })
}

fn print_story(world: &Outcome, most: usize) {
    println!("\nthe end of seed {}:", world.seed);
    for line in &world.story[world.story.len().saturating_sub(most)..] {
        println!("  {line}");
    }
    match &world.broken {
        None => println!("no rule was broken\n"),
        Some(broken) => println!(
            "rule {}\n  {}\nagain: cargo xtask simulate --seed {}",
            broken.rule, broken.how, world.seed
        ),
    }
}

/// The seeds among the first `count` whose events differ in a second process.
fn differing(first: u64, count: u64) -> Vec<u64> {
    (first..first + count).filter(|seed| elsewhere(*seed) != Some(run(*seed).hash)).collect()
}

fn elsewhere(seed: u64) -> Option<u64> {
    let this = std::env::current_exe().ok()?;
    let said = Command::new(this).args(["--seed", &seed.to_string(), "--trace-hash"]).output().ok()?;
    u64::from_str_radix(String::from_utf8(said.stdout).ok()?.trim(), 16).ok()
}
