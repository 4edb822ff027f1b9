//! Ports: an instance owns a block of eight, outside the range from which the kernel takes ports for outgoing
//! connections (one of those could own a port just when an app wants it).
//!
//! Law: whoever listens on a block's first port owns the block.

use std::fs;
use std::io;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::ops::RangeInclusive;

/// Ports in one block.
pub const BLOCK: u16 = 8;

/// Below are ports that people know by heart.
const LOWEST: u16 = 20_000;

/// An instance's ports, by the first one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Block(pub u16);

impl Block {
    /// Where its agent listens.
    #[must_use]
    pub const fn api(self) -> SocketAddr {
        self.at(0)
    }

    /// Where its app listens in the first slot.
    #[must_use]
    pub const fn app_a(self) -> SocketAddr {
        self.at(1)
    }

    /// Where its app listens in the second slot.
    #[must_use]
    pub const fn app_b(self) -> SocketAddr {
        self.at(2)
    }

    /// Where its own proxy listens.
    #[must_use]
    pub const fn proxy(self) -> SocketAddr {
        self.at(3)
    }

    const fn at(self, offset: u16) -> SocketAddr {
        SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), self.0 + offset)
    }
}

/// No block was free.
#[derive(Debug, thiserror::Error)]
#[error(
    "no block of {BLOCK} free ports from {LOWEST} to 65535 outside {}-{} (net.ipv4.ip_local_port_range)",
    .ephemeral.start(), .ephemeral.end()
)]
pub struct NoBlock {
    ephemeral: RangeInclusive<u16>,
}

/// Takes a free block by listening on its first port. Two fleets that begin to look at different `start`s seldom
/// meet; where they do, the listener decides.
///
/// # Errors
/// When no block is free.
pub fn take(start: u16) -> Result<(Block, TcpListener), NoBlock> {
    let ephemeral = ephemeral();
    let blocks = candidates(&ephemeral);
    let first = usize::from(start) % blocks.len().max(1);
    let turned = blocks[first..].iter().chain(&blocks[..first]);
    turned.filter_map(|base| bind(Block(*base)).ok()).next().ok_or(NoBlock { ephemeral })
}

/// Takes `block` if all its ports are free.
fn bind(block: Block) -> io::Result<(Block, TcpListener)> {
    let listener = TcpListener::bind(block.api())?;
    for address in [block.app_a(), block.app_b(), block.proxy()] {
        TcpListener::bind(address)?;
    }
    Ok((block, listener))
}

fn candidates(ephemeral: &RangeInclusive<u16>) -> Vec<u16> {
    let bases = (LOWEST..=u16::MAX - BLOCK).step_by(usize::from(BLOCK));
    bases.filter(|base| base + BLOCK <= *ephemeral.start() || base > ephemeral.end()).collect()
}

/// The kernel's range for outgoing connections; Linux's default if it does not say.
fn ephemeral() -> RangeInclusive<u16> {
    let text = fs::read_to_string("/proc/sys/net/ipv4/ip_local_port_range").unwrap_or_default();
    let mut bounds = text.split_ascii_whitespace().filter_map(|word| word.parse().ok());
    match (bounds.next(), bounds.next()) {
        (Some(first), Some(last)) => first..=last,
        _ => 32_768..=60_999,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_keep_out_of_the_kernels_range() {
        let bases = candidates(&(32_768..=60_999));
        assert!(bases.iter().all(|base| base % BLOCK == 0 && *base >= LOWEST));
        assert!(bases.iter().all(|base| base + BLOCK <= 32_768 || *base > 60_999));
        assert!(bases.contains(&32_760) && bases.contains(&61_000) && !bases.contains(&32_768));
    }

    #[test]
    fn two_blocks_are_never_the_same() {
        let (one, _held) = take(7).unwrap();
        let (other, _held_too) = take(7).unwrap();
        assert_ne!(one, other);
    }

    #[test]
    fn a_block_with_a_taken_port_is_passed_over() {
        let (block, listener) = take(300).unwrap();
        drop(listener);
        let _stranger = TcpListener::bind(block.app_b()).unwrap();
        assert!(bind(block).is_err());
    }
}
