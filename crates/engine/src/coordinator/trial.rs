//! A release that was deployed to an empty fleet is on trial: the first newcomer that serves it proves it, and where it does
//! not come up the fleet falls back to the release that is proven, by a deployment like any other, so that it is seen,
//! measured and carried on by whoever is there. Whoever booted while the fleet was still found empty took the release before:
//! it leads such a deployment to the one on trial.

use super::{Agent, Begun, HeadObject, Idle, Lease};
use crate::mailbox::{Board, Tried};
use crate::object::{Swapped, swap};
use everup_core::head::{Head, Request, head_key};
use everup_core::policy::{Policy, Size, Strategy};
use everup_core::release::ReleaseRef;
use everup_core::seams::{Clock, Seams};

/// What this agent's own instance made of the release that it took.
#[derive(Debug, Default)]
pub(super) struct Trial {
    tried: Option<Tried>,
    /// Over which release on trial this agent has begun a deployment: once in its life, so that two releases neither of which
    /// comes up do not chase each other.
    judged: Option<ReleaseRef>,
}

impl Trial {
    pub(super) fn note(&mut self, tried: Tried) {
        self.tried = Some(tried);
    }
}

impl<S: Seams, B: Board> Agent<'_, S, B> {
    /// Makes of a trial what its own instance has seen. Gives head if this agent leads a deployment now.
    pub(super) async fn judge_trial(&mut self, idle: &mut Idle<'_, S>) -> Option<HeadObject> {
        let tried = self.trial.tried.clone()?;
        let head = idle.lease.object()?.clone();
        let Some(trial) = head.value.on_trial().cloned() else {
            // While a deployment runs, or the store says nothing, that is not known.
            if head.value.current.is_none() {
                self.trial.tried = None;
            }
            return None;
        };
        let request = match (trial == tried.release, tried.serves) {
            (true, true) => {
                self.pass(idle, &head).await;
                return None;
            }
            (true, false) => self.way_back(&head.value, &trial)?,
            (false, true) => self.way_on(&trial, &tried.release),
            (false, false) => {
                self.trial.tried = None;
                return None;
            }
        };
        if idle.lease.has_resigned() || self.trial.judged.as_ref() == Some(&trial) {
            return None;
        }
        let still = |head: &Head| head.on_trial() == Some(&trial);
        match self.begin(&request, || false, still).await {
            Ok(Begun::Runs(head)) => {
                self.trial.judged = Some(trial);
                // It may have been taken over already.
                Lease::is_mine(&head.value, self.who).then_some(*head)
            }
            // Somebody else was first, or the store is away: the next look tells.
            Ok(Begun::Over(_)) | Err(_) => None,
        }
    }

    async fn pass(&mut self, idle: &mut Idle<'_, S>, head: &HeadObject) {
        let key = head_key(&self.who.environment);
        if let Ok(Swapped::Done(head)) =
            swap(self.seams, &key, Some(&head.etag), head.value.with_trial_passed()).await
        {
            self.trial.tried = None;
            idle.lease.wrote(head);
        }
    }

    /// Everybody at once: nobody is known to serve what is on trial.
    fn way_back(&self, head: &Head, trial: &ReleaseRef) -> Option<Request> {
        let to = head.instead_of_trial()?;
        let policy = Policy { batch: Size::Percent(100), min_in_service: None, ..self.who.policy.clone() };
        Some(self.request(to, policy, format!("{}, where {trial} does not serve", self.who.id)))
    }

    /// Batch by batch: what this instance took serves.
    fn way_on(&self, trial: &ReleaseRef, mine: &ReleaseRef) -> Request {
        let by = format!("{}, which took {mine} while the fleet was found empty", self.who.id);
        self.request(trial, self.who.policy.clone(), by)
    }

    fn request(&self, to: &ReleaseRef, policy: Policy, by: String) -> Request {
        Request {
            to: to.clone(),
            policy: Policy { strategy: Strategy::Rolling, ..policy },
            by,
            at: self.seams.clock().wall(),
            from: None,
            migration: None,
            take_back: None,
            idempotency: None,
        }
    }
}
