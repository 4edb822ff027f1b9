//! Who listens on a port of this machine: for the message about a taken port, and to find again what is ours.

use crate::proc::Identity;
use std::fs;
use std::net::SocketAddr;

/// The first process found that listens on `address`'s port; nothing if `/proc` does not tell.
#[must_use]
pub fn owner(address: SocketAddr) -> Option<Identity> {
    let sockets: Vec<String> =
        inodes(address.port()).iter().map(|inode| format!("socket:[{inode}]")).collect();
    if sockets.is_empty() {
        return None;
    }
    pids().find(|pid| holds(*pid, &sockets)).and_then(Identity::of)
}

/// A process's command line; empty if it cannot be read.
#[must_use]
pub fn arguments(process: &Identity) -> Vec<String> {
    let line = fs::read(format!("/proc/{}/cmdline", process.pid)).unwrap_or_default();
    let line = line.strip_suffix(&[0]).unwrap_or(&line);
    line.split(|byte| *byte == 0).map(|word| String::from_utf8_lossy(word).into_owned()).collect()
}

/// The inodes of the sockets that listen on `port`, of either family.
fn inodes(port: u16) -> Vec<u64> {
    let tables = ["/proc/self/net/tcp", "/proc/self/net/tcp6"];
    let text: String = tables.iter().filter_map(|table| fs::read_to_string(table).ok()).collect();
    text.lines().filter_map(|line| listening(line, port)).collect()
}

/// The inode in a line of the kernel's table, if it is a socket that listens (state 0A) on `port`.
fn listening(line: &str, port: u16) -> Option<u64> {
    let fields: Vec<&str> = line.split_ascii_whitespace().collect();
    let local = fields.get(1)?.rsplit_once(':')?.1;
    let listens = *fields.get(3)? == "0A" && u16::from_str_radix(local, 16).ok()? == port;
    if listens { fields.get(9)?.parse().ok() } else { None }
}

fn pids() -> impl Iterator<Item = u32> {
    let names = fs::read_dir("/proc").into_iter().flatten().flatten();
    names.filter_map(|entry| entry.file_name().to_str()?.parse().ok())
}

fn holds(pid: u32, sockets: &[String]) -> bool {
    let entries = fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten();
    let mut targets = entries.filter_map(|entry| fs::read_link(entry.path()).ok());
    targets.any(|target| sockets.iter().any(|socket| target.as_os_str() == socket.as_str()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn the_owner_of_a_taken_port_is_found() {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        assert_eq!(owner(listener.local_addr().unwrap()).unwrap().pid, std::process::id());
    }
}
