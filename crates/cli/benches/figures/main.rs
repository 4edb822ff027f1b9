//! The figures of docs/benchmarks.md: each beside what others take for the same work, in one run, as a ratio.
//!
//! `cargo xtask bench` runs it; its stdout is the page. It needs haproxy, nginx, wrk, curl and bash, and a machine that
//! does nothing else.
#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a benchmark: what it prints is the page, and what goes wrong ends it"
)]

#[path = "../../tests/e2e/harness/mod.rs"]
#[expect(dead_code, unused_imports, reason = "the end-to-end tests use the rest of it")]
mod harness;

mod all_at_once;
mod haproxy;
mod machine;
mod memory;
mod proxy;
mod rolling;

use std::time::Duration;

/// So often each thing is measured; the median counts.
const ROUNDS: usize = 3;

fn main() {
    println!("# Figures\n\n{}", machine::described());
    rolling::print();
    all_at_once::print();
    proxy::print();
    memory::print();
}

/// Measures `ROUNDS` times, and gives the one in the middle.
fn median(what: &str, mut measure: impl FnMut() -> f64) -> f64 {
    let mut all: Vec<f64> = (0..ROUNDS).map(|_| measure()).collect();
    eprintln!("{what}: {all:.3?}");
    all.sort_by(f64::total_cmp);
    all[ROUNDS / 2]
}

/// Seconds.
fn seconds(time: Duration) -> f64 {
    time.as_secs_f64()
}
