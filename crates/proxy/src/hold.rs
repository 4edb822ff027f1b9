//! Waiting at the gates. The body is read meanwhile, as far as memory is allowed: only so can it be seen that a
//! client has left, and only so does the request go on at once when it may.

use crate::flight::Flight;
use crate::gates::Waiter;
use crate::upload::{Broken, Upload};
use everup_core::gate::machine::Refusal;

/// No more than this is read ahead of one request.
const AHEAD: u64 = 4 << 20;

/// How a wait ended.
pub(crate) enum Waited {
    /// It passes.
    In(Flight),
    /// 503.
    Refused(Refusal),
    /// Its client left.
    Left,
    /// 413.
    TooLarge,
    /// 502.
    Unreachable,
}

/// Waits for the gates' word, reading ahead if `reads`.
pub(crate) async fn wait(mut waiter: Waiter, upload: &Upload, mut reads: bool) -> Waited {
    let mut ahead = 0;
    loop {
        tokio::select! {
            biased;
            verdict = &mut waiter => return verdict.map_or_else(Waited::Refused, Waited::In),
            piece = upload.read_ahead(), if reads => match piece {
                Ok(Some(size)) => {
                    ahead += size;
                    // Beyond what is allowed the rest stays with the client.
                    reads = waiter.grow(size) && ahead < AHEAD;
                }
                Ok(None) => reads = false,
                Err(Broken::Client(_)) => return Waited::Left,
                Err(Broken::TooLarge) => return Waited::TooLarge,
            }
        }
    }
}
