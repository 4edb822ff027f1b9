//! A request that waits at the gates.

use super::{Gates, Verdict};
use everup_core::gate::machine::Ticket;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use tokio::sync::oneshot;

/// A request that waits. Dropped, it has left.
pub(crate) struct Waiter {
    pub(super) gates: Rc<Gates>,
    pub(super) ticket: Ticket,
    pub(super) told: oneshot::Receiver<Verdict>,
}

impl Waiter {
    /// Charges `bytes` more to it; false when the queue's memory is full.
    pub(crate) fn grow(&self, bytes: u64) -> bool {
        self.gates.machine.borrow_mut().grow(self.ticket, bytes)
    }
}

impl Future for Waiter {
    type Output = Verdict;
    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Verdict> {
        Pin::new(&mut self.told)
            .poll(cx)
            .map(|told| told.expect("the gates tell every waiter before they forget it"))
    }
}

impl Drop for Waiter {
    fn drop(&mut self) {
        self.gates.waiting.borrow_mut().remove(&self.ticket);
        self.gates.machine.borrow_mut().left(self.ticket);
    }
}
