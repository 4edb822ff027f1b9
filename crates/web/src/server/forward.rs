//! What another agent has to be asked: the one that holds the lease. Once: what was handed on is not handed on again.

use super::Backend;
use super::answer::No;
use super::guard::Caller;
use crate::client::{Client, Failure};
use everup_core::ids::InstanceId;

/// What became of a call that the coordinator was to take.
pub(super) enum Asked<T> {
    /// It answered.
    Answered(T),
    /// This agent is to do it: it coordinates, nobody does, or the coordinator cannot be reached, so that nothing
    /// was sent.
    Here,
}

impl Backend {
    /// The agent that coordinates, if it is another and the request came here first.
    pub(super) fn elsewhere(&self, caller: &Caller) -> Option<InstanceId> {
        let holder = self.status.borrow().coordinator.clone()?;
        (holder != self.me.instance && !caller.forwarded).then_some(holder)
    }

    /// Waits until this agent knows that `holder` coordinates no longer.
    pub(super) async fn is_deposed(&self, holder: &InstanceId) {
        let mut own = self.status.clone();
        // An engine that ends says nothing any more, and the agent ends with it.
        let _ = own.wait_for(|now| now.coordinator.as_ref() != Some(holder)).await;
    }

    /// Asks the coordinator, if it is another.
    pub(super) async fn ask_coordinator<T, F: Future<Output = Result<T, Failure>>>(
        &self,
        caller: &Caller,
        call: impl FnOnce(Client) -> F,
    ) -> Result<Asked<T>, No> {
        let Some(holder) = self.elsewhere(caller) else { return Ok(Asked::Here) };
        let asked = async { call(self.peers.client(&holder)?.forwarding(&self.me.instance)).await };
        let asked = tokio::select! {
            asked = asked => asked,
            () = self.is_deposed(&holder) => {
                return Err(No::no_answer(format!("the coordinator was {holder}, and is no longer")));
            }
        };
        match asked {
            Ok(answer) => Ok(Asked::Answered(answer)),
            Err(failure @ Failure::NotSent { .. }) => {
                tracing::warn!(%holder, %failure, "the coordinator cannot be reached; this agent acts itself");
                Ok(Asked::Here)
            }
            Err(failure) => Err(failure.into()),
        }
    }
}
