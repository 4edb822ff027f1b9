//! The requests that wait: first in, first out, bounded in number and bytes, each with a deadline of its own.

use super::HoldLimits;
use crate::time::Mono;
use std::collections::{BTreeMap, BTreeSet};

/// One request, named by the machine in the order of arrival.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ticket(pub u64);

#[derive(Debug, Clone)]
struct Waiter {
    since: Mono,
    until: Mono,
    bytes: u64,
}

/// The waiting requests in the order of their arrival.
#[derive(Debug, Clone, Default)]
pub(super) struct Queue {
    limits: HoldLimits,
    waiters: BTreeMap<Ticket, Waiter>,
    deadlines: BTreeSet<(Mono, Ticket)>,
    bytes: u64,
}

impl Queue {
    /// What holds for requests that come from now on; those that wait keep their deadline.
    pub(super) fn set_limits(&mut self, limits: HoldLimits) {
        self.limits = limits;
    }

    pub(super) fn len(&self) -> usize {
        self.waiters.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.waiters.is_empty()
    }

    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Takes a request in, unless a cap is reached.
    #[must_use]
    pub(super) fn push(&mut self, now: Mono, ticket: Ticket, bytes: u64) -> bool {
        if self.len() >= self.limits.requests as usize || bytes > self.room() {
            return false;
        }
        let until = now + self.limits.wait;
        self.deadlines.insert((until, ticket));
        self.waiters.insert(ticket, Waiter { since: now, until, bytes });
        self.bytes += bytes;
        true
    }

    /// Counts more bytes of a waiting request; refused beyond the cap.
    #[must_use]
    pub(super) fn grow(&mut self, ticket: Ticket, bytes: u64) -> bool {
        let room = self.room();
        match self.waiters.get_mut(&ticket) {
            Some(waiter) if bytes <= room => {
                waiter.bytes += bytes;
                self.bytes += bytes;
                true
            }
            _ => false,
        }
    }

    fn room(&self) -> u64 {
        self.limits.bytes.saturating_sub(self.bytes)
    }

    pub(super) fn oldest(&self) -> Option<Ticket> {
        self.waiters.first_key_value().map(|(&ticket, _)| ticket)
    }

    /// Takes a request out, whatever for; since when it waited, if it did.
    pub(super) fn remove(&mut self, ticket: Ticket) -> Option<Mono> {
        let waiter = self.waiters.remove(&ticket)?;
        self.deadlines.remove(&(waiter.until, ticket));
        self.bytes -= waiter.bytes;
        Some(waiter.since)
    }

    /// Takes out the next one that has waited for too long.
    pub(super) fn expired(&mut self, now: Mono) -> Option<Ticket> {
        let &(until, ticket) = self.deadlines.first()?;
        (until <= now).then(|| self.remove(ticket))?.map(|_| ticket)
    }

    pub(super) fn next_deadline(&self) -> Option<Mono> {
        self.deadlines.first().map(|&(until, _)| until)
    }
}
