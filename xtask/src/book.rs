//! The account of a run: a heading for each suite, and at the end a table and one line that counts.

use crate::counts::Counts;
use crate::stream::stream;
use std::process::{Command, ExitCode};
use std::time::{Duration, Instant};

/// The suites so far.
#[derive(Default)]
pub(crate) struct Book {
    entries: Vec<Entry>,
}

struct Entry {
    name: String,
    counts: Counts,
    took: Duration,
    /// Why it failed, where the counts do not say it.
    trouble: Option<String>,
}

impl Book {
    /// Runs `work` under a heading. One that could not run is a failure like any other.
    pub(crate) fn suite(&mut self, name: &str, work: impl FnOnce() -> Result<Counts, String>) -> bool {
        println!("\n==== {name} ====");
        let began = Instant::now();
        let (counts, trouble) = match work() {
            Ok(counts) if counts == Counts::default() => {
                (Counts::one(false), Some("it ran no test".to_owned()))
            }
            Ok(counts) => (counts, None),
            Err(why) => (Counts::one(false), Some(why)),
        };
        let entry = Entry { name: name.to_owned(), counts, took: began.elapsed(), trouble };
        println!("---- {}", entry.line());
        let passed = counts.failed == 0;
        self.entries.push(entry);
        passed
    }

    /// A suite that is one program, which passes by its exit code.
    pub(crate) fn program(&mut self, name: &str, command: &mut Command, within: Duration) -> bool {
        self.suite(name, || {
            let status = stream(command, within, |_| {})?;
            if status.success() { Ok(Counts::one(true)) } else { Err(format!("it ended with {status}")) }
        })
    }

    /// A suite that is a test runner, which passes by its exit code and by what it counts.
    pub(crate) fn runner(&mut self, name: &str, command: &mut Command, within: Duration) -> bool {
        self.suite(name, || {
            let mut counts = Counts::default();
            let status = stream(command, within, |line| counts.read(line))?;
            match (status.success(), counts.failed) {
                (false, 0) => Err(format!("it ended with {status}")),
                _ => Ok(counts),
            }
        })
    }

    /// The table, and the closing line.
    pub(crate) fn close(self) -> ExitCode {
        println!("\n==== all ====");
        let mut total = Counts::default();
        for entry in &self.entries {
            println!("{}", entry.line());
            total += entry.counts;
        }
        println!("\n{} passed, {} failed", total.passed, total.failed);
        if total.failed == 0 && total.passed > 0 { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}

impl Entry {
    fn line(&self) -> String {
        let Self { name, counts: Counts { passed, failed }, took, trouble } = self;
        let verdict = if *failed == 0 { "ok" } else { "FAILED" };
        let took = took.as_secs_f64();
        let why = trouble.as_deref().map(|why| format!("  ({why})")).unwrap_or_default();
        format!("{name:<28} {verdict:<7} {passed:>5} passed {failed:>4} failed {took:>8.1} s{why}")
    }
}
