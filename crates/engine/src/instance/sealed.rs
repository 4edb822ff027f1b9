//! Sealed: the app is stopped, the gate keeps what arrives, and nothing starts or opens but by order.
//!
//! No time-out ends a seal. If the deployment is over and this instance was not told (it counted as gone, say), head
//! says what a newcomer runs, and that is what it becomes.

use super::body::Body;
use super::serve::shut;
use crate::bugs::{Bug, planted};
use crate::object::read;
use everup_core::gate::Passing;
use everup_core::head::{Head, head_key};
use everup_core::ids::DeploymentId;
use everup_core::instance::{Goal, Granted, Memory, Outcome, Phase, RunStage};
use everup_core::seams::{Fleet, Gate, Runtime, Seams};
use everup_core::time::Millis;

/// How often a sealed instance that hears nothing looks at head. Its coordinator speaks first, or a deputy will.
const LOOK: Millis = Millis(5_000);
/// How often the fleet's engine is asked again when it does not answer.
const ASK_AGAIN: Millis = Millis(1_000);

/// Stops the app, runs the migration if it was granted, and waits.
pub(super) async fn stay<S: Seams>(body: &Body<'_, S>, deployment: &DeploymentId) {
    if let Ok(Err(_)) = body.seams.gate().seal(None).await
        && !planted(Bug::SealAfterLapse)
    {
        // It has forgotten its seal, and lets requests in to an app that is to be stopped.
        shut(body, body.who.policy.drain, body.who.policy.quiet).await;
    }
    if let Ok(Ok(())) = body.seams.gate().seal(None).await {
        body.gate_is(Passing::Sealed);
    }
    stop_apps(body).await;
    let granted = body.memory().migration.filter(|granted| granted.run.deployment == *deployment);
    match granted {
        Some(granted) if !matches!(granted.stage, RunStage::Ended(_)) => run(body, granted).await,
        _ => body.phase(Phase::Sealed, Some("the order to start".to_owned())),
    }
    if planted(Bug::StartOldAfterGrant) {
        return start_the_old_one(body).await;
    }
    wait_for_the_end(body, deployment).await;
}

/// The planted bug: a seal that ends by a time-out.
async fn start_the_old_one<S: Seams>(body: &Body<'_, S>) {
    body.pause(LOOK).await;
    let goal = body.release().map(|release| Goal::Serve { release });
    body.remember(move |memory| memory.goal = goal).await;
}

async fn stop_apps<S: Seams>(body: &Body<'_, S>) {
    let apps = body.seams.runtime().adopt().await.apps;
    if !apps.is_empty() {
        // It was idle when it held. But a hold that lapsed while its agent was away, and was taken up again under the
        // same name, has let requests in between. Nothing new passes a seal, so this ends.
        let _ = body.seams.gate().idle(body.who.policy.drain).await;
    }
    for app in apps {
        body.phase(Phase::Stopped, Some("the old app to end".to_owned()));
        body.seams.runtime().stop(&app, body.who.care.stop).await;
    }
    body.see(|view| {
        view.running = false;
        view.doubled = false;
        view.healthy = false;
        view.idle = true;
    });
}

/// Runs the migration once. What was accepted but not begun, and may not begin any more, is known not to have run.
async fn run<S: Seams>(body: &Body<'_, S>, granted: Granted) {
    body.phase(Phase::Migrating, Some(format!("migration {}", granted.run.migration)));
    // The fleet's engine is asked not to end this instance now; if it cannot say yes, the run is not worse for it.
    body.protected.set(true);
    let _ = body.seams.fleet().protect(true).await;
    let outcome = match body.confirmed.get() {
        true => begin(body, &granted).await,
        false => resume(body, &granted).await,
    };
    let run = granted.run.clone();
    body.remember(move |memory| set_stage(memory, &run, RunStage::Ended(outcome))).await;
    body.phase(Phase::Sealed, Some("the order to start".to_owned()));
    unprotect(body).await;
}

/// Pays the debt of [`run`]: the fleet's engine may end this instance again. Asked until it says yes.
pub(super) async fn unprotect<S: Seams>(body: &Body<'_, S>) {
    while body.protected.get() {
        match body.seams.fleet().protect(false).await {
            Ok(()) => body.protected.set(false),
            Err(_) => body.pause(ASK_AGAIN).await,
        }
    }
}

/// Whether it is protected and no run is the reason any more.
pub(super) fn owes<S: Seams>(body: &Body<'_, S>) -> bool {
    let memory = body.memory();
    let granted = memory.migration.as_ref().filter(|granted| !matches!(granted.stage, RunStage::Ended(_)));
    let runs = granted.is_some_and(|granted| {
        memory.goal == Some(Goal::Sealed { deployment: granted.run.deployment.clone() })
    });
    body.protected.get() && !runs
}

async fn begin<S: Seams>(body: &Body<'_, S>, granted: &Granted) -> Outcome {
    let run = granted.run.clone();
    body.remember(move |memory| set_stage(memory, &run, RunStage::Spawned)).await;
    body.seams.runtime().run_once(&granted.run).await
}

/// After a restart of the agent: whether it began is on the disk, and if it did not it never will.
async fn resume<S: Seams>(body: &Body<'_, S>, granted: &Granted) -> Outcome {
    match body.seams.runtime().settle(&granted.run).await {
        Some(outcome) => outcome,
        None => body.seams.runtime().run_once(&granted.run).await,
    }
}

fn set_stage(memory: &mut Memory, run: &everup_core::instance::Run, stage: RunStage) {
    if let Some(granted) = memory.migration.as_mut().filter(|granted| granted.run == *run) {
        granted.stage = stage;
    }
}

async fn wait_for_the_end<S: Seams>(body: &Body<'_, S>, deployment: &DeploymentId) {
    let key = head_key(&body.who.environment);
    loop {
        body.pause(LOOK).await;
        let head = read::<Head>(body.seams, &key).await;
        let over = |head: &Head| head.current.as_ref().is_none_or(|current| current.id != *deployment);
        if let Ok(Some(head)) = head
            && over(&head.value)
        {
            body.confirmed.set(false);
            return body.remember(|memory| memory.goal = None).await;
        }
    }
}
