//! How tickets are found again.

use std::hash::Hasher;

/// The hash of a ticket is its number: they are counted up by the gates, and nobody else chooses them.
#[derive(Debug, Default)]
pub(super) struct Number(u64);

impl Hasher for Number {
    fn finish(&self) -> u64 {
        self.0
    }

    fn write(&mut self, bytes: &[u8]) {
        bytes.iter().for_each(|byte| self.0 = self.0.rotate_left(8) ^ u64::from(*byte));
    }

    fn write_u64(&mut self, number: u64) {
        // The map takes the uppermost bits for itself.
        self.0 = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    }
}
