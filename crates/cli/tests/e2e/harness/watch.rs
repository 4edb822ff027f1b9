//! Everything that an agent tells of its environment, from now on.

use super::Fleet;
use everup_core::status::Status;
use everup_web::client::Client;
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use tokio::sync::oneshot;

/// Follows an agent's events on a thread of its own.
pub(crate) struct Watch {
    seen: Arc<Mutex<Vec<Status>>>,
    end: oneshot::Sender<()>,
    thread: JoinHandle<()>,
}

impl Watch {
    /// Follows the events of an agent that lives as long as this.
    #[track_caller]
    pub(crate) fn over(fleet: &Fleet) -> Self {
        let client = fleet.client(&fleet.seats().into_keys().next().unwrap());
        let seen = Arc::new(Mutex::new(Vec::new()));
        let (end, ended) = oneshot::channel();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let shared = Arc::clone(&seen);
        let thread = std::thread::spawn(move || {
            runtime.block_on(async {
                tokio::select! {
                    () = follow(&client, &shared) => {}
                    _ = ended => {}
                }
            });
        });
        Self { seen, end, thread }
    }

    /// Ends it; all that it saw, of which there is something.
    #[track_caller]
    pub(crate) fn seen(self) -> Vec<Status> {
        let _ = self.end.send(());
        self.thread.join().unwrap();
        let seen = std::mem::take(&mut *self.seen.lock().unwrap_or_else(PoisonError::into_inner));
        assert!(!seen.is_empty(), "nothing was told");
        seen
    }
}

/// A stream that ends is begun again.
async fn follow(client: &Client, seen: &Mutex<Vec<Status>>) {
    loop {
        let Ok(mut events) = client.events().await else { continue };
        while let Ok(Some(status)) = events.next().await {
            seen.lock().unwrap_or_else(PoisonError::into_inner).push(status);
        }
    }
}
