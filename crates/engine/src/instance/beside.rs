//! Two apps on one instance: the new one comes up beside the old one, which serves until the gate is switched.

use super::app::{ended, wait_healthy};
use super::body::Body;
use super::serve::{ASK_AGAIN, Ended, fall_ill, fell, join, open};
use everup_core::gate::Passing;
use everup_core::instance::{Goal, Phase, Problem, Running};
use everup_core::order::Limits;
use everup_core::release::ReleaseRef;
use everup_core::seams::{Gate, Runtime, Seams};
use everup_core::time::Millis;
use futures_util::{FutureExt, pin_mut, select_biased};

/// Ends what an earlier update has replaced and was still ending: a third app would not be started beside two, and the
/// one that serves would have to go first.
pub(super) async fn retire_former<S: Seams>(
    body: &Body<'_, S>,
    apps: Vec<Running>,
    limits: &Limits,
) -> Vec<Running> {
    let view = body.view();
    let serves = matches!(view.phase, Phase::Serving | Phase::Lingering);
    if apps.len() < 2 || !serves || view.gate != Passing::Open {
        return apps;
    }
    let (serving, former): (Vec<Running>, Vec<Running>) =
        apps.into_iter().partition(|app| Some(&app.release) == view.release.as_ref());
    if serving.is_empty() {
        return former;
    }
    retire(body, &former, limits).await;
    serving
}

/// Waits until `new` is healthy while `old` serves. Should the old one die meanwhile, the gate keeps what arrives
/// until the new one is there.
pub(super) async fn come_up<S: Seams>(
    body: &Body<'_, S>,
    new: &Running,
    old: &Running,
    limits: &Limits,
) -> Result<Running, Problem> {
    let healthy = wait_healthy(body, new, limits.start).fuse();
    let gone = body.seams.runtime().exited(old).fuse();
    pin_mut!(healthy, gone);
    select_biased! {
        _ = gone => {
            if body.sends_to(new) {
                // That one was coming up, or was left over: what it has left behind must not hold its port.
                body.seams.runtime().stop(old, Millis::ZERO).await;
                body.see(|view| view.doubled = false);
            } else {
                fell(body, old).await;
                body.see(|view| {
                    view.phase = Phase::Starting;
                    view.doubled = false;
                    view.release = Some(new.release.clone());
                    view.running = true;
                });
            }
            healthy.await
        }
        verdict = healthy => verdict,
    }
}

/// The new release did not come up: the old one, which never stopped serving, serves on.
pub(super) async fn give_up<S: Seams>(
    body: &Body<'_, S>,
    release: &ReleaseRef,
    old: &Running,
    limits: &Limits,
    problem: Problem,
) -> Ended {
    for app in body.seams.runtime().adopt().await.apps {
        if app.release == *release {
            body.seams.runtime().stop(&app, limits.stop).await;
        }
    }
    back_on(body, old, problem).await
}

/// Sends to the old app again, if that still runs.
pub(super) async fn back_on<S: Seams>(body: &Body<'_, S>, old: &Running, problem: Problem) -> Ended {
    if !body.look_at_apps().await.iter().any(|app| app.upstream == old.upstream) {
        fell(body, old).await;
        return Ended::Ill(problem);
    }
    open(body, old).await;
    let release = old.release.clone();
    body.remember(move |memory| memory.release = Some(release)).await;
    Ended::BackOnOld(old.clone(), problem)
}

/// Serves on with the old app, and says what was wrong with the new one, until an order says what next. An old app that
/// was still starting is let into service when it is up.
pub(super) async fn stay<S: Seams>(body: &Body<'_, S>, old: &Running, problem: Problem, ordered: bool) {
    let serves = body.view().gate == Passing::Open;
    let said = problem.clone();
    body.see(|view| {
        view.phase = Phase::Ill;
        view.problem = Some(said);
        view.release = Some(old.release.clone());
        view.running = true;
        view.healthy = serves;
        view.steady = false;
    });
    if ordered {
        give_up_the_order(body, old, problem).await;
    }
    let up = if serves { Ok(None) } else { wait_healthy(body, old, body.who.care.start).await.map(Some) };
    if let Ok(started) = up {
        if let Some(app) = started {
            open(body, &app).await;
            join(body).await;
            body.see(|view| view.healthy = true);
        }
        let exit = body.seams.runtime().exited(old).await;
        fell(body, old).await;
        fall_ill(body, ended("run", &exit)).await;
    }
    let release = old.release.clone();
    body.remember(move |memory| memory.goal = Some(Goal::Serve { release })).await;
}

/// The order has come to its end, without success: an agent that begins anew does not carry it out once more.
async fn give_up_the_order<S: Seams>(body: &Body<'_, S>, old: &Running, problem: Problem) {
    let (release, fence) = (old.release.clone(), body.order_fence());
    body.remember(move |memory| {
        memory.goal = Some(Goal::Serve { release });
        memory.done = memory.done.max(fence);
        memory.given_up = Some(problem);
    })
    .await;
}

/// Ends the old app that lingered long enough. Its requests may take their time: the new one is looked after meanwhile.
pub(super) async fn end_the_lingering<S: Seams>(body: &Body<'_, S>, old: Option<&Running>, limits: &Limits) {
    let Some(old) = old else { return };
    retire(body, std::slice::from_ref(old), limits).await;
    body.see(|view| {
        if view.phase == Phase::Lingering {
            view.phase = Phase::Serving;
        }
    });
}

/// Ends what the gate no longer sends to, if anything is left of it, once nothing is inside it.
pub(super) async fn retire<S: Seams>(body: &Body<'_, S>, old: &[Running], limits: &Limits) {
    if old.is_empty() {
        return;
    }
    // At the deadline what is left inside is cut with the app; the gate counts it. One that does not answer may have been
    // told in vain to send elsewhere.
    while let Err(error) = body.seams.gate().idle(limits.drain).await {
        let why = format!("its gate to answer, before the old app is ended: {error}");
        body.see(|view| view.waiting = Some(why));
        body.pause(ASK_AGAIN).await;
    }
    body.see(|view| view.waiting = None);
    for app in old {
        body.seams.runtime().stop(app, limits.stop).await;
    }
    body.see(|view| view.doubled = false);
}
