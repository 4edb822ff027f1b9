//! Rolling, 4 instances of an app that takes 0.5 s to start, under load: beside the limit, and beside a shell script
//! that drains by HAProxy's socket.

use crate::haproxy::{Haproxy, free};
use crate::harness::{Program, Setup, Shop};
use crate::median;
use everup_cli::load::{Load, Plan};
use std::cell::Cell;
use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

/// The app's start, and how long each request takes.
const START_MS: u32 = 500;
const REQUEST_MS: u32 = 20;
const A_SECOND: u32 = 400;
const INSTANCES: u32 = 4;

/// The section.
pub(crate) fn print() {
    let limit = f64::from(INSTANCES * (START_MS + REQUEST_MS)) / 1_000.0;
    let failed = [Cell::new(0), Cell::new(0), Cell::new(0)];
    let alone = median("everup", || everup("prove = \"0ms\"", &failed[0]));
    let overlap = median("everup with overlap", || {
        everup("prove = \"0ms\"\noverlap = true\nlinger = \"0ms\"", &failed[1])
    });
    let scripted = median("shell", || script(&failed[2]));
    println!(
        "## Rolling, {INSTANCES} instances, one at a time, under load\n\n\
         An app that takes {START_MS} ms to start; {A_SECOND} requests a second, each of which takes {REQUEST_MS} ms. The limit is\n\
         number x (start + longest request). Nobody waits for proof that a release lives on (`prove = \"0ms\"`); the script\n\
         proves nothing else either: it verifies no archive, writes no record, and cannot go back. Both are timed from\n\
         outside, by one clock: from the command's start to its end, which for everup is after the receipt.\n\n\
         | | wall | beside the limit | beside the script | failed, all rounds |\n|---|---|---|---|---|\n\
         | limit | {limit:.2} s | 1.00 | | |",
    );
    let rows = [
        ("everup", alone),
        ("everup, with overlap", overlap),
        ("a shell script, drain by HAProxy's socket", scripted),
    ];
    for ((name, wall), failed) in rows.into_iter().zip(&failed) {
        let (limit, script) = (wall / limit, wall / scripted);
        println!("| {name} | {wall:.2} s | {limit:.2} | {script:.2} | {} |", failed.get());
    }
    println!();
}

fn plan(address: SocketAddr) -> Plan {
    Plan { slow: A_SECOND, slow_ms: REQUEST_MS, ..Plan::gets(address, 0) }
}

fn app() -> Program {
    Program::demo().file("demo.conf", &format!("schema=1\nstart_ms={START_MS}"))
}

fn everup(deploy: &'static str, failed: &Cell<u64>) -> f64 {
    let health = "path = \"/healthz\"";
    let setup = Setup { instances: INSTANCES, deploy, health, ..Setup::default() };
    let fleet = Shop::serving(&setup, &app(), &app());
    let load = Load::start(plan(fleet.address)).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let began = Instant::now();
    let ended = fleet.deploy(&["2"]);
    let took = crate::seconds(began.elapsed());
    ended.succeeded();
    failed.set(failed.get() + load.end().failed());
    took
}

/// The same with HAProxy and a script, which is told when to begin and says when it is done.
fn script(failed: &Cell<u64>) -> f64 {
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("demo.conf"), format!("schema=1\nstart_ms={START_MS}")).unwrap();
    let servers: Vec<_> = (0..INSTANCES).map(|_| free()).collect();
    let haproxy = Haproxy::start(folder.path(), &servers);
    let ports: Vec<_> = servers.iter().map(|server| server.port().to_string()).collect();
    let mut bash = Command::new("bash");
    bash.args(["-c", include_str!("roll.sh"), "roll", env!("CARGO_BIN_EXE_everup")]).args(&ports);
    bash.current_dir(folder.path()).env("ADMIN", haproxy.admin.port().to_string());
    let mut child = bash.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
    let (mut go, mut said) =
        (child.stdin.take().unwrap(), BufReader::new(child.stdout.take().unwrap()).lines());
    assert_eq!(said.next().unwrap().unwrap(), "ready");
    let load = Load::start(plan(haproxy.address)).unwrap();
    std::thread::sleep(Duration::from_secs(2));
    let began = Instant::now();
    writeln!(go, "go").unwrap();
    assert_eq!(said.next().unwrap().unwrap(), "done");
    let took = crate::seconds(began.elapsed());
    failed.set(failed.get() + load.end().failed());
    drop(go);
    child.wait().unwrap();
    took
}
