//! The engine's board as a watch channel, which the API shows.

use everup_core::ids::{Environment, InstanceId};
use everup_core::status::Status;
use everup_engine::mailbox::Board;
use std::sync::Arc;
use tokio::sync::watch;

/// Where the engine puts its status.
#[derive(Debug)]
pub(super) struct WatchBoard(watch::Sender<Arc<Status>>);

impl WatchBoard {
    /// An empty board, and the end that shows it.
    #[must_use]
    pub(super) fn new(
        instance: InstanceId,
        environment: Environment,
    ) -> (Self, watch::Receiver<Arc<Status>>) {
        let empty = Status {
            seq: 0,
            instance,
            environment,
            coordinator: None,
            head: None,
            record: None,
            desired: 0,
            instances: Vec::new(),
            trouble: None,
        };
        let (shown, seen) = watch::channel(Arc::new(empty));
        (Self(shown), seen)
    }
}

impl Board for WatchBoard {
    fn show(&self, status: Status) {
        self.0.send_replace(Arc::new(status));
    }
}
