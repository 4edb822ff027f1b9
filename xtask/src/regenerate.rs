//! `cargo xtask regenerate`: recorded outputs, and docs/guide/cli.md from the binary's own help.

use crate::cargo::{PROFILE, binary, cargo, root};
use crate::counts::Counts;
use std::fmt::Write;
use std::fs;
use std::process::{Command, ExitCode};

const GUIDE: &str = "docs/guide/cli.md";

/// The commands, in the order of a first day.
const COMMANDS: [&str; 16] = [
    "init", "up", "publish", "deploy", "status", "versions", "history", "rollback", "pause", "resume",
    "abort", "scale", "down", "demo", "doctor", "keys",
];

/// Writes all of it anew.
pub(crate) fn run() -> ExitCode {
    match record().and_then(|()| build()).and_then(|()| write()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("{why}");
            ExitCode::FAILURE
        }
    }
}

/// Whether the guide is what the binary says; the recorded outputs are compared by the tests that own them.
pub(crate) fn compare() -> Result<Counts, String> {
    let kept = fs::read_to_string(root().join(GUIDE)).map_err(|error| format!("{GUIDE}: {error}"))?;
    if kept == guide()? {
        println!("{GUIDE} is what the binary says");
        return Ok(Counts::one(true));
    }
    Err(format!("{GUIDE} is not what the binary says: run cargo xtask regenerate"))
}

/// The tests that compare with a recorded output write it when asked to.
fn record() -> Result<(), String> {
    let mut tests =
        cargo(["test", "--profile", PROFILE, "--workspace", "--test", "help", "--test", "scripts"]);
    done("the tests with recorded outputs", tests.env("SNAPSHOTS", "overwrite"))
}

/// As the suites build it: of one package alone the dependencies would be built anew, with other features.
fn build() -> Result<(), String> {
    done("the build", &mut cargo(["build", "--profile", PROFILE, "--workspace", "--all-targets"]))
}

fn done(what: &str, command: &mut Command) -> Result<(), String> {
    let status = command.status().map_err(|error| format!("{what} could not be run: {error}"))?;
    if status.success() { Ok(()) } else { Err(format!("{what} ended with {status}")) }
}

fn write() -> Result<(), String> {
    let text = guide()?;
    fs::write(root().join(GUIDE), text).map_err(|error| format!("{GUIDE}: {error}"))
}

fn guide() -> Result<String, String> {
    let mut text = String::from(
        "# The commands\n\nWhat `everup COMMAND --help` prints, written here by `cargo xtask regenerate`.\n",
    );
    let _ = write!(text, "\n## everup\n\n```text\n{}\n```\n", help(&[])?);
    for name in COMMANDS {
        let _ = write!(text, "\n## everup {name}\n\n```text\n{}\n```\n", help(&[name])?);
    }
    Ok(text)
}

fn help(command: &[&str]) -> Result<String, String> {
    let mut everup = Command::new(binary("everup"));
    everup
        .args(command)
        .args(["--help", "--color", "never"])
        .env("COLUMNS", "100")
        .env_remove("EVERUP_CONFIG");
    let output = everup
        .output()
        .map_err(|error| format!("{} could not be run: {error}", binary("everup").display()))?;
    let text = String::from_utf8_lossy(&output.stdout);
    Ok(text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n").trim_end().to_owned())
}
