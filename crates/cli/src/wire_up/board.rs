//! The engine's board as a watch channel, which the API shows.

use everup_core::ids::{Environment, InstanceId};
use everup_core::plan::report;
use everup_core::policy::Policy;
use everup_core::status::Status;
use everup_engine::mailbox::Board;
use std::sync::Arc;
use tokio::sync::watch;

/// Where the engine puts its status.
#[derive(Debug)]
pub(super) struct WatchBoard {
    shown: watch::Sender<Arc<Status>>,
    /// The limits of who moves without a deployment.
    policy: Policy,
}

impl WatchBoard {
    /// An empty board, and the end that shows it.
    #[must_use]
    pub(super) fn new(
        instance: InstanceId,
        environment: Environment,
        policy: Policy,
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
        (Self { shown, policy }, seen)
    }
}

impl Board for WatchBoard {
    fn show(&self, mut status: Status) {
        let running = status.record.as_ref().filter(|record| !record.state.is_final());
        let policy = running.map_or(&self.policy, |record| &record.policy);
        for line in &mut status.instances {
            line.waiting = line.waiting.take().map(|waiting| match line.phase {
                Some(_) => report::with_limit(&waiting, policy),
                // It was not heard: that is why.
                None => report::until_answered(&waiting),
            });
        }
        self.shown.send_replace(Arc::new(status));
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use everup_core::ids::Zone;
    use everup_core::instance::Phase;
    use everup_core::status::Line;

    #[test]
    fn what_an_instance_waits_for_is_shown_with_its_end() {
        let (id, environment) = (InstanceId::new("i1").unwrap(), Environment::new("local").unwrap());
        let (board, seen) = WatchBoard::new(id.clone(), environment, Policy::default());
        let shown = |phase, waiting: &str| {
            let line = Line {
                id: id.clone(),
                zone: Zone::new("a").unwrap(),
                address: "127.0.0.1:1".into(),
                phase,
                release: None,
                in_service: false,
                waiting: Some(waiting.into()),
                problem: None,
            };
            let status = Status::clone(&seen.borrow());
            board.show(Status { instances: vec![line], ..status });
            seen.borrow().instances[0].waiting.clone().unwrap()
        };
        assert_eq!(
            shown(Some(Phase::Leaving), "requests inside its app"),
            "requests inside its app, for at most 30 s"
        );
        assert_eq!(shown(None, "no answer"), "no answer; asked again until it answers");
    }
}
