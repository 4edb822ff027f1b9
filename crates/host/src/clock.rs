//! The clocks and the chance of a real process.

use everup_core::seams::{Chance, Clock};
use everup_core::time::{Millis, Mono, Wall};
use rustix::rand::{GetRandomFlags, getrandom};
use std::time::{SystemTime, UNIX_EPOCH};
use tokio::time::Instant;

/// tokio's clock, counted from when this was made; so a test may pause it.
#[derive(Debug, Clone, Copy)]
pub struct TokioClock {
    origin: Instant,
}

impl TokioClock {
    /// A clock that starts at 0 now.
    #[must_use]
    pub fn start() -> Self {
        Self { origin: Instant::now() }
    }
}

impl Clock for TokioClock {
    fn mono(&self) -> Mono {
        Mono(Millis::from(self.origin.elapsed()).0)
    }

    fn wall(&self) -> Wall {
        wall_now()
    }

    async fn until(&self, at: Mono) {
        tokio::time::sleep_until(self.origin + Millis(at.0).as_duration()).await;
    }
}

/// Milliseconds since 1970; 0 on a machine whose clock stands before that.
#[must_use]
pub fn wall_now() -> Wall {
    Wall(SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |span| Millis::from(span).0))
}

/// The kernel's random numbers.
#[derive(Debug, Clone, Copy, Default)]
pub struct KernelChance;

impl Chance for KernelChance {
    fn next(&self) -> u64 {
        let mut bits = [0; 8];
        // Fewer than 256 bytes are never cut short, and after boot there is no error left that it could return.
        getrandom(&mut bits, GetRandomFlags::empty()).expect("the kernel gives 8 random bytes");
        u64::from_ne_bytes(bits)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn until_waits_for_the_clock_and_not_for_the_past() {
        let clock = TokioClock::start();
        clock.until(Mono(5_000)).await;
        assert_eq!(clock.mono(), Mono(5_000));
        clock.until(Mono(3)).await;
        assert_eq!(clock.mono(), Mono(5_000));
    }

    #[test]
    fn chance_does_not_repeat() {
        assert_ne!(KernelChance.next(), KernelChance.next());
    }
}
