//! A release that was deployed to an empty fleet is on trial: the first newcomer that serves it proves it, and where it does
//! not come up the fleet falls back to the release that is proven, by a deployment like any other, so that it is seen,
//! measured and carried on by whoever is there.

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
    /// For which release this agent has begun the way back: once in its life, so that two releases neither of which comes up
    /// do not chase each other.
    fell_back: Option<ReleaseRef>,
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
        if head.value.on_trial() != Some(&tried.release) {
            // While a deployment runs, or the store says nothing, that is not known.
            if head.value.current.is_none() {
                self.trial.tried = None;
            }
            return None;
        }
        if tried.serves {
            self.pass(idle, &head).await;
            return None;
        }
        if idle.lease.has_resigned() || self.trial.fell_back.as_ref() == Some(&tried.release) {
            return None;
        }
        let request = self.way_back(&head.value, &tried.release)?;
        let still = |head: &Head| head.on_trial() == Some(&tried.release);
        match self.begin(&request, || false, still).await {
            Ok(Begun::Runs(head)) => {
                self.trial.fell_back = Some(tried.release);
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
        let policy = Policy {
            strategy: Strategy::Rolling,
            batch: Size::Percent(100),
            min_in_service: None,
            ..self.who.policy.clone()
        };
        Some(Request {
            to: head.instead_of_trial()?.clone(),
            policy,
            by: format!("{}, where {trial} does not serve", self.who.id),
            at: self.seams.clock().wall(),
            from: None,
            migration: None,
            applied_before: None,
            take_back: None,
            idempotency: None,
        })
    }
}
