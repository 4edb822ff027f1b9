//! `cargo xtask simulate …`: seeded worlds of the product's own engine, with faults. Its arguments are those of
//! `crates/sim/src/bin/simulate.rs`.

use std::process::{Command, ExitCode};

/// Builds the simulation, quick enough to run thousands of worlds, and runs it with `args`.
pub(crate) fn run(args: impl Iterator<Item = String>) -> ExitCode {
    let cargo = std::env::var("CARGO").unwrap_or_else(|_| "cargo".to_owned());
    let build = ["run", "--quiet", "--profile", "demo", "--package", "everup-sim", "--bin", "simulate", "--"];
    match Command::new(cargo).args(build).args(args).status() {
        Ok(status) if status.success() => ExitCode::SUCCESS,
        Ok(status) => ExitCode::from(status.code().and_then(|code| u8::try_from(code).ok()).unwrap_or(1)),
        Err(_) => ExitCode::from(127),
    }
}
