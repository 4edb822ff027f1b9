//! A process that is none of the fleet's, on a port that is.

use super::{Shop, get, program::python, until};
use std::net::{Ipv4Addr, SocketAddr};
use std::process::{Child, Command, Stdio};

/// It runs until it is dropped.
#[derive(Debug)]
pub(crate) struct Stranger {
    child: Child,
    address: SocketAddr,
}

impl Stranger {
    /// It listens on `port`, and answers everything with `text`.
    pub(crate) fn on(shop: &Shop, port: u16, text: &str) -> Self {
        shop.write("stranger.py", include_str!("../apps/stranger.py"));
        let mut command = Command::new(python());
        command.arg(shop.path().join("stranger.py")).args([&port.to_string(), text]).stdin(Stdio::null());
        Self { child: command.spawn().unwrap(), address: (Ipv4Addr::LOCALHOST, port).into() }
    }

    /// Waits until it answers, or the one that shares the port with it does.
    #[track_caller]
    pub(crate) fn answers(&self) {
        until("the stranger", || get(self.address, "/version").ok());
    }

    /// Its port.
    pub(crate) fn port(&self) -> String {
        self.address.port().to_string()
    }

    /// Its number.
    pub(crate) fn pid(&self) -> String {
        self.child.id().to_string()
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}
