//! How fast those that waited are let go when a gate opens.
//!
//! What opens into hundreds of waiting requests would send them all to one app, cold or not, whose listening socket
//! may have room for five connections: what does not fit is dropped by its kernel, and waits for as long as the
//! retransmissions back off. So a few are let in first, and how many more follow the answers: one more an answer,
//! which is twice as many a round, while answers stay quick; one more a round when they take longer than twice the
//! quickest, for then the app does as much as it can. The idea is that of TCP Vegas (RFC 6297, section 3.1).

use crate::time::{Millis, Mono};

/// So many pass at first.
pub(super) const FIRST_WAVE: u32 = 4;

/// Answers differ by so much for reasons that are not the app's.
const JITTER: Millis = Millis(5);

/// How many of those that waited may be inside at once after a gate has opened.
#[derive(Debug, Clone, Copy)]
pub(super) struct Opening {
    number: u32,
    size: u32,
    inside: u32,
    quickest: Option<Millis>,
    /// Slow answers since the last place was added.
    slow: u32,
}

/// That a request passed during an opening.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Place {
    number: u32,
    since: Mono,
}

impl Opening {
    pub(super) fn new(number: u32) -> Self {
        Self { number, size: FIRST_WAVE, inside: 0, quickest: None, slow: 0 }
    }

    pub(super) fn has_room(&self) -> bool {
        self.inside < self.size
    }

    pub(super) fn enter(&mut self, now: Mono) -> Place {
        self.inside += 1;
        Place { number: self.number, since: now }
    }

    /// The request of `place` is out, or turned out to last.
    pub(super) fn exit(&mut self, now: Mono, place: Place) {
        if place.number != self.number {
            return;
        }
        self.inside -= 1;
        let took = now.since(place.since);
        let quickest = self.quickest.map_or(took, |quickest| quickest.min(took));
        self.quickest = Some(quickest);
        if took <= quickest + quickest + JITTER {
            self.size = self.size.saturating_add(1);
        } else {
            self.slow += 1;
            if self.slow >= self.size {
                self.slow = 0;
                self.size = self.size.saturating_add(1);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// In an app that answers `at_once` requests side by side in 10 ms each, for so many `rounds`: how many were
    /// inside at most.
    fn most_inside(rounds: u32, at_once: u32) -> u32 {
        let mut opening = Opening::new(1);
        let (mut now, mut most) = (Mono(0), 0);
        let mut inside = std::collections::VecDeque::new();
        for _ in 0..rounds {
            while opening.has_room() {
                inside.push_back(opening.enter(now));
            }
            most = most.max(u32::try_from(inside.len()).unwrap());
            now = now + Millis(10);
            for _ in 0..at_once.min(u32::try_from(inside.len()).unwrap()) {
                opening.exit(now, inside.pop_front().unwrap());
            }
        }
        most
    }

    #[test]
    fn an_app_that_is_quick_side_by_side_soon_has_all_and_one_that_is_not_never_has() {
        assert!(most_inside(10, 1_000) > 1_000);
        assert!(most_inside(250, 2) < 40, "{}", most_inside(250, 2));
    }

    #[test]
    fn answers_of_an_earlier_opening_count_for_nothing() {
        let place = Opening::new(1).enter(Mono(0));
        let mut opening = Opening::new(2);
        opening.exit(Mono(1), place);
        assert_eq!((opening.inside, opening.size), (0, FIRST_WAVE));
    }
}
