//! The wall clock, handed in so that tests can set it.

use everup_core::time::{Millis, Wall};
use std::sync::Arc;
use std::time::SystemTime;

/// Tells the present wall time.
pub type WallClock = Arc<dyn Fn() -> Wall + Send + Sync>;

/// The machine's clock.
#[must_use]
pub fn system() -> WallClock {
    Arc::new(|| {
        let since = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH).unwrap_or_default();
        Wall(Millis::from(since).0)
    })
}
