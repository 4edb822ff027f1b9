//! The minder: parent of one app or one migration, so that its end, its output and its exit status outlive every
//! agent.
//!
//! `everup minder <name> <start id>`: the arguments are for people who read `ps`; the [`Charge`] comes by standard
//! input, to its end, and the [`Answer`] goes to standard output.

mod charge;

pub use charge::{Answer, Charge, Duty, LogTo, MARK};

use std::ffi::OsString;
use std::process::ExitCode;

/// Runs as a minder; `args` are those after `minder`.
pub fn main(_args: impl Iterator<Item = OsString>) -> ExitCode {
    ExitCode::FAILURE
}
