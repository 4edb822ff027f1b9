//! The listening sockets of everything that the keeper keeps. It holds each one itself, so that while a process is
//! being replaced new connections wait in the kernel's queue and are not refused.
//!
//! A child gets its socket as descriptor 0 and leaves it there: so a new keeper finds it again (decision 0004).

use super::ledger::Who;
use super::owner;
use crate::proc::Identity;
use rustix::net::listen;
use rustix::net::sockopt::socket_acceptconn;
use rustix::process::{PidfdGetfdFlags, pidfd_getfd};
use std::collections::BTreeMap;
use std::io;
use std::net::{SocketAddr, TcpListener};
use std::os::fd::{AsFd, OwnedFd};

/// So many connections may wait for the one who accepts; the kernel's own limit (`net.core.somaxconn`) is below.
const BACKLOG: i32 = 4_096;

/// An address could not be listened on.
#[derive(Debug, thiserror::Error)]
pub enum ListenError {
    /// Somebody else does.
    #[error("cannot listen on {address}: {} has the port; stop it, or choose another address", owner_name(.owner.as_ref()))]
    Taken {
        /// Where.
        address: SocketAddr,
        /// Who, if the kernel tells.
        owner: Option<Identity>,
    },
    /// Something else is wrong with it.
    #[error("cannot listen on {address}: {cause}")]
    Other {
        /// Where.
        address: SocketAddr,
        /// What.
        cause: io::Error,
    },
}

fn owner_name(owner: Option<&Identity>) -> String {
    match owner {
        Some(process) => format!("process {} ({})", process.pid, owner::arguments(process).join(" ")),
        None => "another process (of another user: try `ss -ltnp` as root)".to_owned(),
    }
}

/// Those that are held, by whose they are.
#[derive(Debug, Default)]
pub(super) struct Sockets(BTreeMap<Who, TcpListener>);

impl Sockets {
    /// Holds a socket that was made elsewhere.
    pub(super) fn hold(&mut self, who: &Who, listener: TcpListener) {
        self.0.insert(who.clone(), listener);
    }

    /// A copy of `who`'s socket to give away; listens on `address` first if none is held.
    pub(super) fn copy(&mut self, who: &Who, address: SocketAddr) -> Result<OwnedFd, ListenError> {
        let other = |cause| ListenError::Other { address, cause };
        if !self.0.contains_key(who) {
            self.hold(who, open(address)?);
        }
        let listener = self.0[who].try_clone().map_err(other)?;
        Ok(listener.into())
    }

    /// Gets hold of the socket that `process` listens with on `address`; `false` where the kernel forbids it.
    pub(super) fn fetch(&mut self, who: &Who, process: &Identity, address: SocketAddr) -> bool {
        match fetched(process, address) {
            Ok(listener) => {
                self.hold(who, listener);
                true
            }
            Err(error) => {
                tracing::warn!(
                    "the socket of {who} cannot be shared ({error}): when it dies, its port is closed until it is back"
                );
                false
            }
        }
    }

    pub(super) fn close(&mut self, who: &Who) {
        self.0.remove(who);
    }
}

/// The socket that this process was given as descriptor 0, which stays open: by it a later keeper finds the socket.
///
/// # Errors
/// When descriptor 0 is no socket that listens.
pub fn inherited() -> io::Result<TcpListener> {
    let descriptor = io::stdin().as_fd().try_clone_to_owned()?;
    match socket_acceptconn(&descriptor)? {
        true => Ok(TcpListener::from(descriptor)),
        false => Err(io::ErrorKind::NotConnected.into()),
    }
}

fn open(address: SocketAddr) -> Result<TcpListener, ListenError> {
    let try_it = || -> io::Result<TcpListener> {
        let listener = TcpListener::bind(address)?;
        listen(&listener, BACKLOG)?;
        listener.set_nonblocking(true)?;
        Ok(listener)
    };
    try_it().map_err(|cause| match cause.kind() {
        io::ErrorKind::AddrInUse => ListenError::Taken { address, owner: owner::owner(address) },
        _ => ListenError::Other { address, cause },
    })
}

fn fetched(process: &Identity, address: SocketAddr) -> io::Result<TcpListener> {
    let descriptor = process.open().ok_or(io::ErrorKind::NotFound)?;
    let listener = TcpListener::from(pidfd_getfd(descriptor, 0, PidfdGetfdFlags::empty())?);
    match listener.local_addr()? {
        local if local == address => Ok(listener),
        local => Err(io::Error::other(format!("its descriptor 0 is at {local}, not {address}"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::process::{Command, Stdio};

    #[test]
    fn a_taken_port_names_who_has_it() {
        let holder = TcpListener::bind("127.0.0.1:0").unwrap();
        let error = open(holder.local_addr().unwrap()).unwrap_err();
        assert!(error.to_string().contains(&format!("process {}", std::process::id())), "{error}");
    }

    #[test]
    fn a_childs_socket_is_found_again_after_its_giver_closed_it() {
        let listener = open("127.0.0.1:0".parse().unwrap()).unwrap();
        let address = listener.local_addr().unwrap();
        let mut child =
            Command::new("sleep").arg("60").stdin(Stdio::from(OwnedFd::from(listener))).spawn().unwrap();
        let process = Identity::of(child.id()).unwrap();
        let mut sockets = Sockets::default();
        assert!(!sockets.fetch(&Who::Balancer, &process, "127.0.0.1:1".parse().unwrap()));
        assert!(sockets.fetch(&Who::Balancer, &process, address));
        child.kill().unwrap();
        child.wait().unwrap();
        std::net::TcpStream::connect(address).unwrap();
    }
}
