//! The kernel's own list of the sockets that listen: `sock_diag(7)`.
//!
//! `/proc/net/tcp` lists every connection as well, and on a busy machine those are many thousands, most of them ended:
//! reading it took 25 ms here, at each check of an app that starts, where this takes some microseconds.

use super::Listener;
use rustix::net::netlink::{self, SocketAddrNetlink};
use rustix::net::sockopt::{Timeout, set_socket_timeout};
use rustix::net::{AddressFamily, RecvFlags, SendFlags, SocketFlags, SocketType, recv, sendto, socket_with};
use std::io;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::os::fd::OwnedFd;
use std::time::Duration;

/// The kernel answers at once; a machine without memory for the answer must not stop us.
const DEADLINE: Duration = Duration::from_secs(1);
/// The kernel fills at most so much at a time.
const ANSWER: usize = 32 << 10;

const HEADER: usize = 16;
const SOCK_DIAG_BY_FAMILY: u16 = 20;
const NLM_F_REQUEST_DUMP: u16 = 0x301;
const NLMSG_ERROR: u16 = 2;
const NLMSG_DONE: u16 = 3;

const AF_INET: u8 = 2;
const AF_INET6: u8 = 10;
const IPPROTO_TCP: u8 = 6;
/// `1 << TCP_LISTEN`.
const LISTENING: u32 = 1 << 10;
/// The request, `struct inet_diag_req_v2`, and a socket in the answer, `struct inet_diag_msg`, in bytes.
const REQUEST: usize = 56;
const MESSAGE: usize = 72;
/// The attribute that says whether an IPv6 socket takes IPv6 alone.
const INET_DIAG_SKV6ONLY: u16 = 11;

/// Every socket that listens in this network namespace.
pub(super) fn listeners() -> io::Result<Vec<Listener>> {
    let kernel =
        socket_with(AddressFamily::NETLINK, SocketType::RAW, SocketFlags::CLOEXEC, Some(netlink::SOCK_DIAG))?;
    set_socket_timeout(&kernel, Timeout::Recv, Some(DEADLINE))?;
    let mut found = Vec::new();
    for family in [AF_INET, AF_INET6] {
        sendto(&kernel, &request(family), SendFlags::empty(), &SocketAddrNetlink::new(0, 0))?;
        loop {
            if take(&receive(&kernel)?, &mut found)? == Dump::Done {
                break;
            }
        }
    }
    Ok(found)
}

fn request(family: u8) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEADER + REQUEST);
    bytes.extend(u32::try_from(HEADER + REQUEST).expect("it is 72").to_ne_bytes());
    bytes.extend(SOCK_DIAG_BY_FAMILY.to_ne_bytes());
    bytes.extend(NLM_F_REQUEST_DUMP.to_ne_bytes());
    bytes.extend([0; 8]);
    bytes.extend([family, IPPROTO_TCP, 0, 0]);
    bytes.extend(LISTENING.to_ne_bytes());
    bytes.resize(HEADER + REQUEST, 0);
    bytes
}

fn receive(kernel: &OwnedFd) -> io::Result<Vec<u8>> {
    let mut bytes = vec![0; ANSWER];
    let (read, _) = recv(kernel, bytes.as_mut_slice(), RecvFlags::empty())?;
    bytes.truncate(read);
    Ok(bytes)
}

#[derive(Debug, PartialEq, Eq)]
enum Dump {
    GoesOn,
    Done,
}

/// Takes the sockets out of one answer, a row of messages.
fn take(mut bytes: &[u8], found: &mut Vec<Listener>) -> io::Result<Dump> {
    while let Some((kind, body, rest)) = message(bytes) {
        match kind {
            NLMSG_DONE => return Ok(Dump::Done),
            // It begins with the error's number, negative.
            NLMSG_ERROR => {
                let number = four(body, 0).map(i32::from_ne_bytes).unwrap_or_default();
                return Err(io::Error::from_raw_os_error(-number));
            }
            SOCK_DIAG_BY_FAMILY => found.extend(listener(body)),
            _ => {}
        }
        bytes = rest;
    }
    // An answer that is no answer must not be waited for again.
    if bytes.is_empty() { Ok(Dump::GoesOn) } else { Err(io::ErrorKind::InvalidData.into()) }
}

/// The first of `bytes`' messages: its kind, what is in it, and what follows it.
fn message(bytes: &[u8]) -> Option<(u16, &[u8], &[u8])> {
    let length = u32::from_ne_bytes(four(bytes, 0)?) as usize;
    let kind = u16::from_ne_bytes(two(bytes, 4)?);
    let body = bytes.get(HEADER..length)?;
    Some((kind, body, bytes.get(aligned(length)..).unwrap_or_default()))
}

fn listener(body: &[u8]) -> Option<Listener> {
    let address: IpAddr = match *body.first()? {
        AF_INET => Ipv4Addr::from(four(body, 8)?).into(),
        AF_INET6 => Ipv6Addr::from(<[u8; 16]>::try_from(body.get(8..24)?).ok()?).into(),
        _ => return None,
    };
    Some(Listener {
        address,
        port: u16::from_be_bytes(two(body, 4)?),
        inode: u32::from_ne_bytes(four(body, 68)?).into(),
        v6_only: attribute(body.get(MESSAGE..)?, INET_DIAG_SKV6ONLY).is_some_and(|value| value == [1]),
    })
}

/// The value of one attribute among `bytes`.
fn attribute(mut bytes: &[u8], wanted: u16) -> Option<&[u8]> {
    loop {
        let length = usize::from(u16::from_ne_bytes(two(bytes, 0)?));
        let value = bytes.get(4..length)?;
        if u16::from_ne_bytes(two(bytes, 2)?) == wanted {
            return Some(value);
        }
        bytes = bytes.get(aligned(length)..)?;
    }
}

const fn aligned(length: usize) -> usize {
    length.next_multiple_of(4)
}

fn two(bytes: &[u8], at: usize) -> Option<[u8; 2]> {
    bytes.get(at..at + 2)?.try_into().ok()
}

fn four(bytes: &[u8], at: usize) -> Option<[u8; 4]> {
    bytes.get(at..at + 4)?.try_into().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_answer_is_taken_apart_and_a_broken_one_is_refused() {
        let mut socket = vec![0; MESSAGE];
        socket[0] = AF_INET6;
        socket[4..6].copy_from_slice(&8080_u16.to_be_bytes());
        socket[23] = 1;
        socket[68..72].copy_from_slice(&77_u32.to_ne_bytes());
        for (kind, value) in [(8_u16, 3_u8), (INET_DIAG_SKV6ONLY, 1)] {
            socket.extend(5_u16.to_ne_bytes());
            socket.extend(kind.to_ne_bytes());
            socket.extend([value, 0, 0, 0]);
        }
        let framed = |kind: u16, body: &[u8]| {
            let length = u32::try_from(HEADER + body.len()).unwrap();
            [&length.to_ne_bytes()[..], &kind.to_ne_bytes(), &[0; 10], body].concat()
        };
        let answer = framed(SOCK_DIAG_BY_FAMILY, &socket);
        let mut found = Vec::new();
        assert_eq!(take(&answer, &mut found).unwrap(), Dump::GoesOn);
        let expected = Listener { address: Ipv6Addr::LOCALHOST.into(), port: 8080, inode: 77, v6_only: true };
        assert_eq!(found, [expected]);
        assert_eq!(take(&framed(NLMSG_DONE, &[0; 4]), &mut found).unwrap(), Dump::Done);
        let refused = take(&framed(NLMSG_ERROR, &(-1_i32).to_ne_bytes()), &mut found).unwrap_err();
        assert_eq!(refused.raw_os_error(), Some(1));
        assert!(take(&answer[..20], &mut found).is_err());
    }

    #[test]
    fn the_kernel_and_its_table_say_the_same() {
        let socket = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let port = socket.local_addr().unwrap().port();
        let of = |all: Vec<Listener>| all.into_iter().find(|listener| listener.port == port).unwrap();
        assert_eq!(of(listeners().unwrap()), of(super::super::sockets::tables()));
    }
}
