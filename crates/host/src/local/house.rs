//! What the keeper leaves to whoever runs it: which programs its children are, and how the rest of an instance ends.

use super::ledger::{Seat, Who};
use everup_core::ids::InstanceId;
use std::future::Future;
use std::process::Command;

/// The house that a keeper keeps.
pub trait House {
    /// The command that `who` is; the keeper adds the listening socket (descriptor 0) and where its words go.
    fn command(&self, who: &Who, seat: Option<&(InstanceId, Seat)>) -> Command;

    /// Ends whatever of an instance still lives once its agent is gone: takes it out of the balancer, then ends its
    /// app. Done when nothing of it runs. `at_once`: without giving it time.
    fn sweep(&self, id: &InstanceId, seat: &Seat, at_once: bool) -> impl Future<Output = ()> + 'static;
}
