//! The signals that end a command which has something to clear up.

use crate::exit::Exit;
use crate::failure::Failure;
use rustix::process::Signal as Number;
use std::fs;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Ctrl-C, TERM and HUP, from the moment on at which they are listened for: until then each ends the process. A HUP
/// that whoever started it has told it to ignore (`nohup`) is left ignored.
#[derive(Debug)]
pub struct Endings {
    interrupt: Signal,
    terminate: Signal,
    hangup: Option<Signal>,
}

impl Endings {
    /// Begins to listen; needs a runtime.
    ///
    /// # Errors
    /// When the machine gives no signal handler.
    pub fn listen() -> Result<Self, Failure> {
        let listen = |kind| {
            let refused = |error| Failure::new(Exit::Internal, "signals could not be listened for", error);
            signal(kind).map_err(refused)
        };
        Ok(Self {
            hangup: (!is_ignored(Number::HUP)).then(|| listen(SignalKind::hangup())).transpose()?,
            interrupt: listen(SignalKind::interrupt())?,
            terminate: listen(SignalKind::terminate())?,
        })
    }

    /// What the next one was; one that came while nobody asked is not lost.
    pub async fn next(&mut self) -> &'static str {
        let hangup = async {
            match &mut self.hangup {
                Some(hangup) => hangup.recv().await,
                None => std::future::pending().await,
            }
        };
        tokio::select! {
            _ = self.interrupt.recv() => "Ctrl-C",
            _ = self.terminate.recv() => "it was told to end (TERM)",
            _ = hangup => "its terminal was closed (HUP)",
        }
    }
}

/// By the mask of the ones that this process was started with; where none can be read, nothing is ignored.
fn is_ignored(number: Number) -> bool {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let mask = mask.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok()).unwrap_or(0);
    mask & (1 << (number.as_raw() - 1)) != 0
}
