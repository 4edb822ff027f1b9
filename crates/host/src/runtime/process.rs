//! The runtime `process`: an app is a command, its port given as `$PORT`.

use super::{Releases, Setup};

/// An instance's app as processes of this machine, each start under a minder.
pub struct ProcessRuntime {
    #[expect(dead_code, reason = "used by the seam")]
    setup: Setup,
    #[expect(dead_code, reason = "used by the seam")]
    releases: Box<dyn Releases>,
}

impl ProcessRuntime {
    /// A runtime of what `setup` says. Nothing is started, read or made yet.
    #[must_use]
    pub fn new(setup: Setup, releases: Box<dyn Releases>) -> Self {
        Self { setup, releases }
    }
}
