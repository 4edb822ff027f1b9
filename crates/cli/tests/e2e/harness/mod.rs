//! What the tests have in common: a folder with an application, the fleet that runs it, its users.

mod clock;
mod deployment;
mod disk;
mod fleet;
mod patient;
mod processes;
mod program;
mod shop;
mod stranger;
mod terminal;
mod users;
mod watch;

pub(crate) use clock::Clock;
pub(crate) use deployment::{Blame, Ended, Running, wish};
pub(crate) use disk::Disk;
pub(crate) use fleet::{Fleet, get};
pub(crate) use patient::Step;
pub(crate) use processes::{freeze, left, signal};
pub(crate) use program::{Flaw, Program, python};
pub(crate) use shop::{Said, Setup, Shop};
pub(crate) use stranger::Stranger;
pub(crate) use terminal::Terminal;
pub(crate) use users::Users;
pub(crate) use watch::Watch;

use std::process::Command;
use std::thread::park_timeout;
use std::time::{Duration, Instant};

/// Between two looks at a fact that nobody tells us of.
const LOOK: Duration = Duration::from_millis(10);

/// Nothing in these tests takes longer; what does has failed.
pub(crate) const PATIENCE: Duration = Duration::from_secs(90);

/// Whether this test may have a network and mounts of its own, and be another user: root may. Where it may not, it says
/// so, and fails where every test is required.
pub(crate) fn is_root() -> bool {
    let alone = Command::new("unshare").args(["--mount", "--net", "true"]).output();
    let may = alone.is_ok_and(|output| output.status.success());
    let required = std::env::var_os("EVERUP_TEST_REQUIRE").is_some();
    assert!(may || !required, "this test needs root, who may mount");
    if !may {
        eprintln!("not run: it needs root, who may mount");
    }
    may
}

/// Waits until `look` finds something.
#[track_caller]
pub(crate) fn until<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look() {
            return found;
        }
        assert!(Instant::now() < deadline, "waited {} s in vain for {what}", PATIENCE.as_secs());
        park_timeout(LOOK);
    }
}
