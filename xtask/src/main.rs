//! `cargo xtask`: everything that is done to the project, each thing one command.
//!
//! Role: runs other programs, tells how each ended and how long it took, and leaves nothing running behind it.
//! Its stdout is the account itself, so that a log of CI reads from top to bottom.
#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the account is what it is for")]

mod bench;
mod book;
mod cargo;
mod check;
mod counts;
mod demo;
mod forbidden;
mod leftovers;
mod regenerate;
mod seaweed;
mod simulate;
mod stream;
mod test;
mod tools;

use std::process::ExitCode;

const USAGE: &str = "usage: cargo xtask COMMAND

  check              formatting, core alone, clippy, words that may not stay
  test [SUITE…]      every suite, or those named; installs what they need
  simulate …         seeded worlds with faults (cargo xtask simulate --help)
  bench              the figures of docs/benchmarks.md
  regenerate         recorded outputs and docs/guide/cli.md, written anew";

fn main() -> ExitCode {
    let mut words = std::env::args().skip(1);
    match words.next().as_deref() {
        Some("check") => check::run(),
        Some("test") => test::run(&words.collect::<Vec<_>>()),
        Some("simulate") => simulate::run(words),
        Some("bench") => bench::run(),
        Some("regenerate") => regenerate::run(),
        Some(other) => usage(&format!("there is no command {other:?}")),
        None => usage("say what to do"),
    }
}

fn usage(what: &str) -> ExitCode {
    eprintln!("{what}\n\n{USAGE}");
    ExitCode::from(2)
}
