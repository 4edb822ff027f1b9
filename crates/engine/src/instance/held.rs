//! A soft hold: new requests wait, the old app runs and finishes its own.
//!
//! It is renewed by the coordinator's repeated order. When it lapses, or the app dies, it lets go by itself, into
//! the old app, without the store: nothing was lost.

use super::app::ended;
use super::body::Body;
use super::calls::hold_of;
use super::serve::fell;
use everup_core::gate::{Counts, Idle, Passing};
use everup_core::instance::{Exit, Goal, Phase, Problem, Running};
use everup_core::order::Task;
use everup_core::seams::{Clock, Gate, Runtime, Seams};
use everup_core::time::Millis;
use futures_util::future::pending;
use futures_util::{FutureExt, pin_mut, select_biased};

/// Holds for as long as it is renewed.
pub(super) async fn hold<S: Seams>(body: &Body<'_, S>, task: &Task) {
    let order = body.memory().order.filter(|order| order.task == *task);
    let Some((hold, lapse)) = order.as_ref().and_then(hold_of) else {
        return let_go(body, "the order that began it is not known", None).await;
    };
    let app = body.look_at_apps().await.into_iter().next();
    // Judged before the call: the gate's own count begins later.
    body.held_until.set(body.now() + lapse);
    if let Err(error) = body.seams.gate().hold(&hold).await
        && !is_sealed(body).await
    {
        return let_go(body, &format!("the gate did not take it: {error}"), app.as_ref()).await;
    }
    body.see(|view| {
        view.phase = Phase::Held;
        view.gate = Passing::Held;
        view.hold = Some(hold.id.clone());
        view.idle = false;
        view.running = app.is_some();
        view.waiting = Some("requests inside its app".to_owned());
    });
    match until_over(body, app.as_ref()).await {
        Over::Lapsed => {
            let why = format!("it was not renewed for {}", hold.lapse);
            let_go(body, &why, app.as_ref()).await;
        }
        // What waits goes to the next app: the gate must not open into this one.
        Over::Died(app, exit) => {
            fell(body, &app).await;
            let_go(body, &ended("hold", &exit).reason, None).await;
        }
    }
}

/// Why a hold is over.
enum Over {
    Lapsed,
    Died(Running, Exit),
}

/// A gate that is sealed already passes nothing: the seal of an app that never started again, or one that was not yet
/// written down when the agent died.
async fn is_sealed<S: Seams>(body: &Body<'_, S>) -> bool {
    matches!(body.seams.gate().counts().await, Ok(Counts { passing: Passing::Sealed, .. }))
}

/// Says when nothing is inside any more; returns why the hold is over.
async fn until_over<S: Seams>(body: &Body<'_, S>, app: Option<&Running>) -> Over {
    let exited = async {
        match app {
            Some(app) => (app.clone(), body.seams.runtime().exited(app).await),
            None => pending().await,
        }
    };
    let exited = exited.fuse();
    let idle = until_idle(body).fuse();
    pin_mut!(exited, idle);
    loop {
        let until = body.held_until.get();
        let lapsed = body.seams.clock().until(until).fuse();
        pin_mut!(lapsed);
        select_biased! {
            (app, exit) = exited => return Over::Died(app, exit),
            () = idle => body.see(|view| {
                view.idle = true;
                view.waiting = Some("the order to seal".to_owned());
            }),
            () = lapsed => if body.held_until.get() <= body.now() {
                return Over::Lapsed;
            },
        }
    }
}

async fn until_idle<S: Seams>(body: &Body<'_, S>) {
    while !matches!(body.seams.gate().idle(Millis(5_000)).await, Ok(Idle::Yes)) {
        // An answer "not yet" came after the whole wait; a gate that is away needs a moment.
        body.pause(Millis(50)).await;
    }
}

/// Serves the old release again.
async fn let_go<S: Seams>(body: &Body<'_, S>, why: &str, app: Option<&Running>) {
    // If the gate lets go by itself this changes nothing; if its clock is slower than ours it helps. Where no app
    // answers the gate stays as it was before the hold: it lapses into that by itself.
    let view = body.view();
    if view.running && view.healthy {
        let _ = body.seams.gate().release().await;
    }
    let problem = Problem::new("hold", why);
    body.see(|view| {
        view.problem = Some(problem);
        view.hold = None;
        view.idle = false;
        view.gate = if app.is_some() { Passing::Open } else { Passing::Shut };
        view.phase = Phase::Joining;
        view.waiting = None;
    });
    let goal = body.release().map(|release| Goal::Serve { release });
    // The order is over: that is how its coordinator learns that the hold is lost.
    let fence = body.order_fence();
    body.remember(move |memory| {
        memory.goal = goal;
        memory.done = memory.done.max(fence);
    })
    .await;
}
