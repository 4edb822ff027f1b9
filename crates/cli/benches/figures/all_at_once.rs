//! All at once, 4 instances, a migration in between: from the stop to the first answer, beside start + migration.

use crate::harness::{Program, Setup, Shop};
use crate::median;
use everup_cli::load::{Load, Plan};
use std::cell::Cell;
use std::time::Duration;

const START_MS: u32 = 500;
const MIGRATION_S: u32 = 1;

/// The section.
pub(crate) fn print() {
    let least = f64::from(START_MS) / 1_000.0 + f64::from(MIGRATION_S);
    let (failed, held) = (Cell::new(0), Cell::new(0));
    let gap = median("all at once", || once(&failed, &held));
    println!(
        "## All at once, 4 instances, a migration in between\n\n\
         The app takes {START_MS} ms to start, the migration {MIGRATION_S} s; 200 requests a second, each of which waits and is\n\
         answered. From the last answer of the old release to the first of the new one:\n\n\
         | | time | ratio | failed, all rounds |\n|---|---|---|---|\n\
         | start + migration | {least:.2} s | 1.00 | |\n\
         | everup | {gap:.2} s | {:.2} | {}; {} were held in the last round |\n",
        gap / least,
        failed.get(),
        held.get(),
    );
}

fn once(failed: &Cell<u64>, held: &Cell<u64>) -> f64 {
    let health = "path = \"/healthz\"";
    let setup = Setup { health, ..Setup::default() };
    let first = Program::demo().file("demo.conf", &format!("schema=1\nstart_ms={START_MS}"));
    let second = first.clone().migrating("one-second", &format!("sleep {MIGRATION_S}"));
    let fleet = Shop::serving(&setup, &first, &second);
    let load = Load::start(Plan::gets(fleet.address, 200)).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let ended = fleet.deploy(&["2"]).succeeded();
    failed.set(failed.get() + load.end().failed());
    held.set(ended.document["held"]["count"].as_u64().unwrap());
    ended.document["sources"]["gates"]["longest_gap_ms"].as_f64().unwrap() / 1_000.0
}
