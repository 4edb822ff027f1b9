//! The proxy's CPU per request beside HAProxy's: each on a core of its own, wrk and the origin on the other.

use crate::ROUNDS;
use crate::haproxy::{Haproxy, free};
use crate::harness::{Fleet, Program, Setup, Shop, until};
use std::fs;
use std::net::{SocketAddr, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// One round of one proxy.
const SECONDS: u32 = 5;

struct Round {
    micros: f64,
    rate: f64,
}

/// The section.
pub(crate) fn print() {
    let origin = Origin::start();
    let haproxy = Haproxy::start(origin.folder.path(), &[origin.address]);
    let fleet = fleet();
    let balancer = fleet.balancer();
    pin(haproxy.pid(), "0");
    pin(balancer, "0");
    let mut rounds = [Vec::new(), Vec::new()];
    for _ in 0..ROUNDS {
        rounds[0].push(round(haproxy.pid(), haproxy.address));
        rounds[1].push(round(balancer, fleet.address));
    }
    let [theirs, ours] = rounds.map(middle);
    println!(
        "## The proxy's CPU per request\n\n\
         One core for the proxy; nginx (a body of 2 bytes) and wrk (32 connections, {SECONDS} s) on the other.\n\n\
         | | requests/s | CPU per request | ratio |\n|---|---|---|---|\n\
         | HAProxy, one thread | {:.0} | {:.1} us | 1.00 |\n\
         | everup's balancer | {:.0} | {:.1} us | {:.2} |\n",
        theirs.rate,
        theirs.micros,
        ours.rate,
        ours.micros,
        ours.micros / theirs.micros,
    );
}

fn middle(mut rounds: Vec<Round>) -> Round {
    eprintln!("CPU per request: {:.1?}", rounds.iter().map(|round| round.micros).collect::<Vec<_>>());
    rounds.sort_by(|a, b| a.micros.total_cmp(&b.micros));
    rounds.swap_remove(ROUNDS / 2)
}

/// A fleet of one whose app is the same nginx.
fn fleet() -> Fleet {
    let quiet = Program::nginx().file("nginx.conf", QUIET);
    let setup = Setup { instances: 1, ..Setup::default() };
    let fleet = Shop::serving(&setup, &quiet, &quiet);
    for pid in nginx_below(fleet.path()) {
        pin(pid, "1");
    }
    fleet
}

/// A site that answers "ok" and writes no log.
const QUIET: &str = "daemon off;
worker_processes 1;
pid @DATA@/nginx.pid;
error_log stderr warn;
events { worker_connections 1024; }
http {
    access_log off;
    keepalive_requests 1000000;
    client_body_temp_path @DATA@/body;
    proxy_temp_path @DATA@/proxy;
    fastcgi_temp_path @DATA@/fastcgi;
    uwsgi_temp_path @DATA@/uwsgi;
    scgi_temp_path @DATA@/scgi;
    server { listen 127.0.0.1:@PORT@; location / { return 200 ok; } }
}
";

/// The same site for HAProxy.
struct Origin {
    child: Child,
    address: SocketAddr,
    folder: tempfile::TempDir,
}

impl Origin {
    fn start() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let address = free();
        let data = folder.path().display().to_string();
        let text = QUIET.replace("@PORT@", &address.port().to_string()).replace("@DATA@", &data);
        let file = folder.path().join("nginx.conf");
        fs::write(&file, text).unwrap();
        let mut nginx = Command::new("taskset");
        nginx.args(["-c", "1", "nginx", "-e", "stderr", "-c"]).arg(file).stdin(Stdio::null());
        let child = nginx.spawn().unwrap();
        until("nginx", || TcpStream::connect(address).ok());
        Self { child, address, folder }
    }
}

impl Drop for Origin {
    fn drop(&mut self) {
        // QUIT to the master ends its workers, too.
        let _ = Command::new("kill").args(["-QUIT", &self.child.id().to_string()]).status();
        let _ = self.child.wait();
    }
}

fn pin(pid: u32, core: &str) {
    let done = Command::new("taskset")
        .args(["-a", "-c", "-p", core, &pid.to_string()])
        .stdout(Stdio::null())
        .status();
    assert!(done.unwrap().success(), "process {pid} could not be pinned");
}

fn round(pid: u32, address: SocketAddr) -> Round {
    let before = cpu(pid);
    let mut wrk = Command::new("taskset");
    wrk.args(["-c", "1", "wrk", "-t1", "-c32", &format!("-d{SECONDS}s"), &format!("http://{address}/")]);
    let text = String::from_utf8(wrk.output().unwrap().stdout).unwrap();
    let requests: f64 = text
        .lines()
        .find(|line| line.contains("requests in"))
        .and_then(|line| line.split_whitespace().next()?.parse().ok())
        .unwrap();
    assert!(!text.contains("Non-2xx") && !text.contains("Socket errors"), "{text}");
    Round { micros: (cpu(pid) - before) * 1_000_000.0 / requests, rate: requests / f64::from(SECONDS) }
}

/// Seconds of CPU that a process has taken.
fn cpu(pid: u32) -> f64 {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap();
    let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split_whitespace().collect();
    let ticks: u64 = fields[11].parse::<u64>().unwrap() + fields[12].parse::<u64>().unwrap();
    // Linux tells times in hundredths of a second, whatever its own tick is.
    ticks as f64 / 100.0
}

/// The processes of nginx whose configuration lies below `folder`.
fn nginx_below(folder: &Path) -> Vec<u32> {
    let names = fs::read_dir("/proc").unwrap().filter_map(Result::ok);
    let pids = names.filter_map(|name| name.file_name().to_str()?.parse().ok());
    let of = |file: &str, pid: &u32| {
        fs::read(format!("/proc/{pid}/{file}"))
            .map(|text| String::from_utf8_lossy(&text).into_owned())
            .unwrap_or_default()
    };
    let mark = folder.display().to_string();
    pids.filter(|pid| of("comm", pid).trim() == "nginx" && of("environ", pid).contains(&mark)).collect()
}
