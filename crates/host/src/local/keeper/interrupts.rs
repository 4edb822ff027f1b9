//! The operator's signals.

use std::io;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ctrl-C and TERM.
pub(super) struct Interrupts {
    interrupt: Signal,
    terminate: Signal,
    /// A terminal that is closed does not end a fleet.
    _hangup: Signal,
}

impl Interrupts {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
            _hangup: signal(SignalKind::hangup())?,
        })
    }

    pub(super) async fn next(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}
