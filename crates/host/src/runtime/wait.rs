//! Waits for processes that may not be our children, by their descriptors: nobody is asked again and again.

use crate::proc::{Identity, marked};
use rustix::process::Signal;
use std::io;
use std::time::Duration;
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;
use tokio::time::timeout;

/// What was killed is gone after so long, or stuck in the kernel.
pub(super) const DYING: Duration = Duration::from_secs(10);

/// So many killed processes are named.
const NAMED: usize = 20;

/// Waits until `process` has ended: all of its threads, and with them whatever it held.
pub(crate) async fn ended(process: &Identity) -> io::Result<()> {
    let Some(fd) = process.open_dying() else { return Ok(()) };
    #[expect(
        deprecated,
        reason = "its successor is unsafe; an OwnedFd keeps its descriptor open, which is what that asks for"
    )]
    let fd = AsyncFd::with_interest(fd, Interest::READABLE)?;
    fd.readable().await?.retain_ready();
    Ok(())
}

/// Kills all that bear `mark` and all that belongs to them, until nothing of it is found; returns their names.
pub(crate) async fn kill_marked(mark: &str, minder: u32) -> Vec<String> {
    let mut names = Vec::new();
    let kill = async {
        loop {
            let found = marked(mark, minder);
            if found.is_empty() {
                break;
            }
            for process in &found {
                let name = process.to_string();
                if process.identity().signal(Signal::KILL) && names.len() < NAMED && !names.contains(&name) {
                    names.push(name);
                }
            }
            all_ended(found.iter().map(crate::proc::Stat::identity)).await;
        }
    };
    if timeout(DYING, kill).await.is_err() {
        tracing::error!(
            "processes that bear {mark} were killed and still live: they are stuck in the kernel"
        );
    }
    names
}

/// Waits until nothing that bears `mark` is found any more.
pub(crate) async fn marked_ended(mark: &str, minder: u32) {
    loop {
        let found = marked(mark, minder);
        if found.is_empty() {
            return;
        }
        all_ended(found.iter().map(crate::proc::Stat::identity)).await;
    }
}

async fn all_ended(processes: impl Iterator<Item = Identity>) {
    for process in processes {
        if let Err(error) = ended(&process).await {
            // Out of descriptors: look again a little later instead of at once.
            tracing::warn!("waiting for pid {}: {error}", process.pid);
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    }
}
