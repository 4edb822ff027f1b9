//! On what it was measured.

use std::fs;
use std::process::Command;

/// A paragraph.
pub(crate) fn described() -> String {
    let cpu = fs::read_to_string("/proc/cpuinfo").unwrap_or_default();
    let model = value(&cpu, "model name").unwrap_or_else(|| "an unknown processor".to_owned());
    let memory = fs::read_to_string("/proc/meminfo").unwrap_or_default();
    let kilobytes: u64 =
        value(&memory, "MemTotal").and_then(|text| text.split(' ').next()?.parse().ok()).unwrap_or(0);
    let system = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let system = system
        .lines()
        .find_map(|line| line.strip_prefix("PRETTY_NAME="))
        .unwrap_or("Linux")
        .trim_matches('"')
        .to_owned();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let load = fs::read_to_string("/proc/loadavg").unwrap_or_default();
    format!(
        "Written by `cargo xtask bench`. {model}, {cores} cores, {} GiB, {system}, {}, {}; loopback; load average before: {}.\n\
         Everything in a table was measured in one run, one after another, on this machine; absolute figures move from\n\
         machine to machine, so the ratio counts. Medians of {} rounds; memory was read once.\n",
        kilobytes / 1_048_576,
        version("haproxy", "-v"),
        version("rustc", "--version"),
        load.split(' ').next().unwrap_or("unknown"),
        super::ROUNDS,
    )
}

fn value(text: &str, key: &str) -> Option<String> {
    let line = text.lines().find(|line| line.starts_with(key))?;
    Some(line.split_once(':')?.1.trim().to_owned())
}

fn version(program: &str, flag: &str) -> String {
    let output = Command::new(program).arg(flag).output();
    let text = output.map(|output| String::from_utf8_lossy(&output.stdout).into_owned()).unwrap_or_default();
    let line = text.lines().next().unwrap_or(program);
    line.split(" - ").next().unwrap_or(line).split(" (").next().unwrap_or(line).to_owned()
}
