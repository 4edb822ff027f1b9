//! `cargo xtask bench`: the figures of docs/benchmarks.md, measured anew on this machine.

use crate::cargo::{cargo, root};
use crate::leftovers::Scratch;
use crate::tools;
use std::fs;
use std::process::{ExitCode, Stdio};

const PAGE: &str = "docs/benchmarks.md";

/// What is measured beside us, and what measures.
const TOOLS: [(&str, &str); 4] =
    [("haproxy", "haproxy"), ("nginx", "nginx"), ("wrk", "wrk"), ("curl", "curl")];

/// Measures, and writes the page.
pub(crate) fn run() -> ExitCode {
    match tools::install(&tools::missing(&TOOLS)).and_then(|()| measure()).and_then(|page| write(&page)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(why) => {
            eprintln!("the figures could not be measured: {why}");
            ExitCode::FAILURE
        }
    }
}

/// What the benchmark prints; in the profile of what is given to users.
fn measure() -> Result<String, String> {
    let scratch = Scratch::new()?;
    let mut bench = cargo(["bench", "--profile", "dist", "--package", "everup", "--bench", "figures"]);
    bench
        .env("TMPDIR", scratch.path())
        .env("PATH", tools::path())
        .stdin(Stdio::null())
        .stdout(Stdio::piped());
    let output = bench.spawn().and_then(std::process::Child::wait_with_output);
    let output = output.map_err(|error| format!("cargo bench could not be run: {error}"))?;
    if !output.status.success() {
        return Err(format!("cargo bench ended with {}", output.status));
    }
    Ok(String::from_utf8_lossy(&output.stdout).into_owned())
}

fn write(page: &str) -> Result<(), String> {
    print!("{page}");
    fs::write(root().join(PAGE), page).map_err(|error| format!("{PAGE}: {error}"))
}
