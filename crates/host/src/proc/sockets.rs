//! Who listens on which port, and which sockets are whose: the kernel's list and the descriptors of processes.

use super::diag;
use std::collections::BTreeSet;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A socket that listens.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Listener {
    /// Where; may be "any".
    pub address: IpAddr,
    /// On which port.
    pub port: u16,
    /// The socket's number, by which its owners are found.
    pub inode: u64,
    /// An IPv6 socket that takes no IPv4.
    pub v6_only: bool,
}

impl Listener {
    /// Whether a connection to `address` comes to it.
    #[must_use]
    pub fn takes(&self, address: IpAddr) -> bool {
        match self.address {
            IpAddr::V6(any) if any.is_unspecified() => address.is_ipv6() || !self.v6_only,
            IpAddr::V4(any) if any.is_unspecified() => address.is_ipv4(),
            IpAddr::V6(own) => own.to_canonical() == address,
            own => own == address,
        }
    }
}

/// Every socket that listens in this network namespace on `port`.
#[must_use]
pub fn listening_on(port: u16) -> Vec<Listener> {
    let mut found = listeners();
    found.retain(|listener| listener.port == port);
    found
}

/// Every socket that listens in this network namespace.
#[must_use]
pub fn listeners() -> Vec<Listener> {
    diag::listeners().unwrap_or_else(|error| {
        tracing::debug!("the kernel does not list its sockets ({error}): reading /proc/net/tcp instead");
        tables()
    })
}

/// The same from `/proc/net/tcp` and `/proc/net/tcp6`, for where the kernel's list may not be asked for. Whether
/// an IPv6 socket takes IPv4 is not to be seen there.
pub(super) fn tables() -> Vec<Listener> {
    let tables = ["/proc/net/tcp", "/proc/net/tcp6"].map(|path| fs::read_to_string(path).unwrap_or_default());
    tables.iter().flat_map(|table| table.lines().skip(1).filter_map(parse)).collect()
}

/// The kernel's letter for a socket that listens.
const LISTEN: &str = "0A";

/// `  0: 0100007F:8501 00000000:0000 0A … <inode>`.
fn parse(line: &str) -> Option<Listener> {
    let fields: Vec<&str> = line.split_ascii_whitespace().take(10).collect();
    if fields.get(3) != Some(&LISTEN) {
        return None;
    }
    let (address, port) = fields.get(1)?.split_once(':')?;
    Some(Listener {
        address: parse_address(address)?,
        port: u16::from_str_radix(port, 16).ok()?,
        inode: fields.get(9)?.parse().ok()?,
        v6_only: false,
    })
}

/// The kernel prints an address as 32-bit words of the machine's own byte order.
fn parse_address(hex: &str) -> Option<IpAddr> {
    let words: Option<Vec<[u8; 4]>> = (0..hex.len() / 8)
        .map(|i| u32::from_str_radix(hex.get(i * 8..i * 8 + 8)?, 16).ok().map(u32::to_ne_bytes))
        .collect();
    match words?.as_slice() {
        [v4] => Some(Ipv4Addr::from(*v4).into()),
        v6 => <[u8; 16]>::try_from(v6.concat()).ok().map(|octets| Ipv6Addr::from(octets).into()),
    }
}

/// The descriptor numbers and socket numbers of the sockets that `pid` has open; nothing of a process that may not
/// be looked at.
#[must_use]
pub fn sockets_of(pid: u32) -> BTreeSet<(u64, u32)> {
    let Ok(entries) = fs::read_dir(format!("/proc/{pid}/fd")) else { return BTreeSet::new() };
    let socket = |entry: fs::DirEntry| {
        let fd = entry.file_name().to_str()?.parse().ok()?;
        let target = fs::read_link(entry.path()).ok()?;
        let inode = target.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()?;
        Some((inode, fd))
    };
    entries.flatten().filter_map(socket).collect()
}

/// Whether descriptor `fd` of `pid` still is socket `inode`.
#[must_use]
pub fn is_socket(pid: u32, fd: u32, inode: u64) -> bool {
    fs::read_link(format!("/proc/{pid}/fd/{fd}"))
        .is_ok_and(|target| target.to_str() == Some(&format!("socket:[{inode}]")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::TcpListener;

    #[test]
    fn a_listening_socket_is_found_with_its_owner() {
        for address in ["127.0.0.1:0", "[::1]:0", "0.0.0.0:0", "[::]:0"] {
            let Ok(socket) = TcpListener::bind(address) else { continue };
            let local = socket.local_addr().unwrap();
            let found = listening_on(local.port());
            assert_eq!(found.len(), 1, "{address}: {found:?}");
            assert_eq!(found[0].address, local.ip());
            let (inode, fd) =
                *sockets_of(std::process::id()).iter().find(|(inode, _)| *inode == found[0].inode).unwrap();
            assert!(is_socket(std::process::id(), fd, inode));
            drop(socket);
            assert!(!is_socket(std::process::id(), fd, inode) || listening_on(local.port()).is_empty());
        }
    }

    #[test]
    fn which_listeners_take_a_connection() {
        let on = |text: &str| Listener { address: text.parse().unwrap(), port: 1, inode: 1, v6_only: false };
        let takes = |text: &str, to: &str| on(text).takes(to.parse().unwrap());
        assert!(takes("0.0.0.0", "127.0.0.1") && !takes("0.0.0.0", "::1"));
        assert!(takes("::", "127.0.0.1") && takes("::", "::1"));
        let alone = Listener { v6_only: true, ..on("::") };
        assert!(alone.takes("::1".parse().unwrap()) && !alone.takes("127.0.0.1".parse().unwrap()));
        assert!(takes("::1", "::1") && !takes("::1", "127.0.0.1"));
        assert!(takes("::ffff:127.0.0.1", "127.0.0.1") && !takes("10.0.0.1", "127.0.0.1"));
    }
}
