//! Memory of everup's processes at rest.

use crate::harness::{Program, Setup, Shop};
use std::fs;
use std::time::Duration;

/// The section.
pub(crate) fn print() {
    let setup = Setup { instances: 2, gate: "proxy", health: "path = \"/healthz\"", ..Setup::default() };
    let fleet = Shop::serving(&setup, &Program::demo(), &Program::demo());
    // At rest is a state that nobody tells of.
    std::thread::sleep(Duration::from_secs(5));
    let seats = fleet.seats();
    let (id, seat) = seats.iter().next().unwrap();
    println!("## Memory at rest\n\n| process | resident | of it its own |\n|---|---|---|");
    row("keeper", fleet.keeper.id());
    row("balancer", fleet.balancer());
    row("proxy before an app", seat.proxy.as_ref().unwrap().pid);
    row("agent", seat.agent.as_ref().unwrap().pid);
    row("minder", fleet.minder(id).unwrap().minder.pid);
}

fn row(name: &str, pid: u32) {
    let text = fs::read_to_string(format!("/proc/{pid}/smaps_rollup")).unwrap();
    let of = |key: &str| -> f64 {
        let lines = text.lines().filter(|line| line.starts_with(key));
        lines.filter_map(|line| line.split_whitespace().nth(1)?.parse::<f64>().ok()).sum()
    };
    let (all, own) = (of("Rss:") / 1_024.0, (of("Private_Clean:") + of("Private_Dirty:")) / 1_024.0);
    println!("| {name} | {all:.1} MB | {own:.1} MB |");
}
