//! An app in service: its checks, its proof, its death.

use super::app::ended;
use super::body::Body;
use everup_core::instance::{Phase, Problem, Running};
use everup_core::seams::{Clock, Runtime, Seams};
use everup_core::time::{Millis, Mono};
use futures_util::{FutureExt, pin_mut, select_biased};

/// What an app has to prove, and by when it has.
#[derive(Debug, Clone, Copy)]
pub(super) struct Proof {
    /// From then on it counts as proven.
    pub(super) at: Mono,
    /// Whether failing before that is a failure of the release (it was ordered) or just a failure.
    pub(super) ordered: bool,
}

/// How tending ended.
pub(super) enum Tended {
    /// The app is gone.
    Died(Problem),
    /// It has proven itself; only returned when asked for.
    Proven,
}

/// Looks after `app` until it dies, or until it is proven if `until_proven`.
pub(super) async fn tend<S: Seams>(
    body: &Body<'_, S>,
    app: &Running,
    proof: Proof,
    until_proven: bool,
) -> Tended {
    let care = &body.who.care;
    let exited = body.seams.runtime().exited(app).fuse();
    pin_mut!(exited);
    body.checked.set(body.now());
    let mut failures = 0;
    // Judged without a check in between when nothing has to be proven.
    if proven(body, app, proof, failures) && until_proven {
        return Tended::Proven;
    }
    loop {
        let until_next = next_look(body, proof, care.interval);
        let look = async {
            body.seams.clock().until(until_next).await;
            body.seams.runtime().check(app).await
        };
        let look = look.fuse();
        pin_mut!(look);
        select_biased! {
            exit = exited => return Tended::Died(ended("run", &exit)),
            verdict = look => {
                body.checked.set(body.now());
                failures = match verdict {
                    Ok(_) => recovered(body),
                    Err(problem) => failed_once_more(body, problem, failures),
                };
                if proven(body, app, proof, failures) && until_proven {
                    return Tended::Proven;
                }
            }
        }
    }
}

/// The next check is due after an interval, or at the moment at which the proof is complete.
fn next_look<S: Seams>(body: &Body<'_, S>, proof: Proof, interval: Millis) -> Mono {
    let next = body.now() + interval;
    if body.view().steady || proof.at <= body.now() { next } else { next.min(proof.at) }
}

/// Proven ends a probation as well: what died before it was proven, and was started again, has served long enough now.
fn proven<S: Seams>(body: &Body<'_, S>, app: &Running, proof: Proof, failures: u32) -> bool {
    let view = body.view();
    let steady = body.now() >= proof.at && failures == 0 && view.healthy;
    if steady && !view.steady {
        let given_up = body.why_given_up();
        body.see(|view| {
            view.steady = true;
            view.deaths = 0;
            view.problem = given_up;
            if view.phase == Phase::Ill {
                view.phase = Phase::Serving;
            }
        });
    }
    if steady && !proof.ordered {
        body.vouch_for(app);
    }
    steady
}

fn recovered<S: Seams>(body: &Body<'_, S>) -> u32 {
    let sick = !body.view().healthy;
    if sick {
        let given_up = body.why_given_up();
        body.see(|view| {
            view.healthy = true;
            view.problem = given_up;
            if view.phase == Phase::Ill {
                view.phase = Phase::Serving;
            }
        });
    }
    0
}

/// An app that fails its checks but runs is not restarted, nor taken out: its database may be away, and then all are
/// ill together. The balancer has checks of its own.
fn failed_once_more<S: Seams>(body: &Body<'_, S>, problem: Problem, failures: u32) -> u32 {
    let failures = failures + 1;
    if failures >= body.who.care.failures.max(1) {
        body.ill(problem);
    }
    failures
}
