//! `cargo xtask check`: what needs no test to be run.

use crate::book::Book;
use crate::cargo::{PROFILE, cargo};
use crate::forbidden;
use std::process::ExitCode;
use std::time::Duration;

/// Clippy builds what everything depends on once, cold.
const BUILD: Duration = Duration::from_secs(30 * 60);

/// Runs all checks; the quick ones first.
pub(crate) fn run() -> ExitCode {
    let mut book = Book::default();
    book.suite("forbidden words", forbidden::scan);
    book.program("formatting", &mut cargo(["fmt", "--all", "--check"]), BUILD);
    book.program(
        "core alone",
        &mut cargo(["check", "--profile", PROFILE, "--package", "everup-core"]),
        BUILD,
    );
    let clippy = ["clippy", "--profile", PROFILE, "--workspace", "--all-targets", "--", "-D", "warnings"];
    book.program("clippy", &mut cargo(clippy), BUILD);
    book.close()
}
