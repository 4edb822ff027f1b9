//! HAProxy, as the peer.

use crate::harness::until;
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::process::{Child, Command, Stdio};

/// One that runs.
pub(crate) struct Haproxy {
    child: Child,
    /// Where users come.
    pub(crate) address: SocketAddr,
    /// Where it is told what to do.
    pub(crate) admin: SocketAddr,
}

impl Haproxy {
    /// Before `servers`, on one thread.
    pub(crate) fn start(folder: &Path, servers: &[SocketAddr]) -> Self {
        let (address, admin) = (free(), free());
        let lines = servers.iter().enumerate().map(|(n, server)| format!("  server s{} {server}\n", n + 1));
        let text = format!(
            "global\n  nbthread 1\n  maxconn 4000\n  stats socket ipv4@{admin} level admin\n\
             defaults\n  mode http\n  timeout connect 5s\n  timeout client 60s\n  timeout server 60s\n\
             frontend f\n  bind {address}\n  option forwardfor\n  default_backend b\n\
             backend b\n  http-reuse always\n{}",
            lines.collect::<String>()
        );
        let file = folder.join("haproxy.cfg");
        std::fs::write(&file, text).unwrap();
        let mut command = Command::new("haproxy");
        let child = command.args(["-db", "-f"]).arg(file).stdin(Stdio::null()).spawn().unwrap();
        until("haproxy", || TcpStream::connect(address).ok());
        Self { child, address, admin }
    }

    /// Its process.
    pub(crate) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for Haproxy {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// An address that is free now.
pub(crate) fn free() -> SocketAddr {
    TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap().local_addr().unwrap()
}
