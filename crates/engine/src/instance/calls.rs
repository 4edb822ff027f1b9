//! What an instance answers to a coordinator: the fence decides, what is accepted is stored first.

use super::body::Body;
use crate::bugs::{Bug, planted};
use crate::mailbox::Call;
use everup_core::gate::{Hold, Passing};
use everup_core::ids::{Fence, HoldId, Term};
use everup_core::instance::{Goal, Granted, Memory, Phase, Problem, Run, RunStage, View};
use everup_core::order::{Ack, Obeyed, Order, Task};
use everup_core::seams::{Gate, Runtime, Seams};
use everup_core::time::Millis;
use futures_channel::oneshot;

/// What the procedure does after a call.
pub(super) enum After {
    /// What it was doing.
    GoOn,
    /// Its goal is another one.
    BeginAgain,
    /// Beside what it does, it makes a release ready.
    Stage(Box<Order>),
    /// It ends.
    Retire {
        /// For what is in flight.
        within: Millis,
        /// Told at the end.
        reply: oneshot::Sender<()>,
    },
}

/// Answers one call.
pub(super) async fn take<S: Seams>(body: &Body<'_, S>, call: Call) -> After {
    // A caller that has given up does not take its answer; what was stored stays stored.
    match call {
        Call::Watch { since, reply } => {
            body.watch(since, reply);
            After::GoOn
        }
        Call::Greet { term, reply, .. } => {
            let obeyed = greeted(body, term).await;
            let _ = reply.send(Ack { obeyed, view: body.told() });
            After::GoOn
        }
        Call::Order { order, reply } => {
            let (obeyed, after) = ordered(body, *order).await;
            let _ = reply.send(Ack { obeyed, view: body.told() });
            after
        }
        Call::Retire { within, reply } => After::Retire { within, reply },
    }
}

/// Stores the term, so that every older order is refused from now on.
async fn greeted<S: Seams>(body: &Body<'_, S>, term: Term) -> Obeyed {
    if let Err(not) = is_informed(body) {
        return not;
    }
    let mut memory = body.memory();
    let fence = Fence::greeting(term);
    if fence.term < memory.fence.term {
        return Obeyed::Older(memory.fence);
    }
    body.somebody_coordinates(term);
    if fence <= memory.fence {
        return Obeyed::Already;
    }
    memory.fence = fence;
    match body.save(memory).await {
        Ok(()) => Obeyed::Yes,
        Err(problem) => Obeyed::Not(problem.to_string()),
    }
}

/// Whoever has just begun has to have read head before it obeys. Without memory, an order may be meant for the one that had
/// its address; with memory, the machine may have been away for long, called lost, and the order come from before that.
fn is_informed<S: Seams>(body: &Body<'_, S>) -> Result<(), Obeyed> {
    if body.informed.get() {
        Ok(())
    } else {
        Err(Obeyed::Not("it has just begun, and has not read head yet".to_owned()))
    }
}

async fn ordered<S: Seams>(body: &Body<'_, S>, order: Order) -> (Obeyed, After) {
    if order.to != body.who.id {
        return (Obeyed::Not(format!("this is {}, the order is for {}", body.who.id, order.to)), After::GoOn);
    }
    if let Err(not) = is_informed(body) {
        return (not, After::GoOn);
    }
    let memory = body.memory();
    let lower = if planted(Bug::AcceptLowerRev) {
        order.fence.term < memory.fence.term
    } else {
        order.fence < memory.fence
    };
    if lower {
        return (Obeyed::Older(memory.fence), After::GoOn);
    }
    body.somebody_coordinates(order.fence.term);
    if memory.order.as_ref() == Some(&order) {
        return again(body, &memory, order).await;
    }
    if order.fence == memory.fence {
        return (Obeyed::Not("another order of the same revision was given".to_owned()), After::GoOn);
    }
    match accept(body, memory, order).await {
        Ok(accepted) => accepted,
        Err(problem) => (Obeyed::Not(problem.to_string()), After::GoOn),
    }
}

/// The same order once more: answered with the state. It renews a hold, and takes up what a restart of the agent
/// dropped.
async fn again<S: Seams>(body: &Body<'_, S>, memory: &Memory, order: Order) -> (Obeyed, After) {
    let first = !body.confirmed.replace(true);
    match &order.task {
        Task::Hold { .. } if body.view().phase == Phase::Held => renew(body, &order).await,
        // Its staging went with an earlier run of the agent.
        Task::Stage { .. } if memory.done < order.fence && !has_begun_to_stage(body) => {
            return (Obeyed::Already, After::Stage(Box::new(order)));
        }
        // An order that was waiting for head since the agent restarted.
        Task::Update { .. } | Task::Start { .. } if first && memory.done < order.fence => {
            return (Obeyed::Already, After::BeginAgain);
        }
        _ => {}
    }
    (Obeyed::Already, After::GoOn)
}

/// Whether a release is being made ready, or could not be.
fn has_begun_to_stage<S: Seams>(body: &Body<'_, S>) -> bool {
    let failed = |problem: &Problem| problem.check.starts_with("stage");
    body.stages.get() || body.view().problem.as_ref().is_some_and(failed)
}

async fn renew<S: Seams>(body: &Body<'_, S>, order: &Order) {
    let Some((hold, lapse)) = hold_of(order) else { return };
    // Judged before the call: the gate counts from when it hears of it, which is later.
    let until = body.now() + lapse;
    if body.seams.gate().hold(&hold).await.is_ok() {
        body.held_until.set(until);
    }
}

/// The hold that an order speaks of.
pub(super) fn hold_of(order: &Order) -> Option<(Hold, Millis)> {
    match &order.task {
        Task::Hold { hold, lapse, limits } => {
            Some((Hold { id: hold.clone(), fence: order.fence, lapse: *lapse, limits: *limits }, *lapse))
        }
        _ => None,
    }
}

async fn accept<S: Seams>(
    body: &Body<'_, S>,
    mut memory: Memory,
    order: Order,
) -> Result<(Obeyed, After), Problem> {
    memory.fence = order.fence;
    match order.task.clone() {
        Task::Stage { .. } => {
            memory.order = Some(order.clone());
            (memory.problem, memory.given_up) = (None, None);
            body.save_and_see(memory, |view| view.problem = None).await?;
            body.confirmed.set(true);
            Ok((Obeyed::Yes, After::Stage(Box::new(order))))
        }
        Task::Update { release, .. } | Task::Start { release, .. } => {
            let goal = Goal::Update { release, task: order.task.clone() };
            memory.before.clone_from(&memory.release);
            begin(body, memory, order, goal).await
        }
        Task::Hold { .. } => {
            let goal = Goal::Hold { task: order.task.clone() };
            begin(body, memory, order, goal).await
        }
        Task::TakeBack => take_back(body, memory, order).await,
        Task::Seal { hold } => seal(body, memory, order, hold).await,
        Task::Migrate { run } => migrate(body, memory, order, run).await,
    }
}

async fn begin<S: Seams>(
    body: &Body<'_, S>,
    mut memory: Memory,
    order: Order,
    goal: Goal,
) -> Result<(Obeyed, After), Problem> {
    memory.goal = Some(goal);
    memory.order = Some(order);
    (memory.problem, memory.given_up) = (None, None);
    let fresh = |view: &mut View| {
        view.problem = None;
        view.steady = false;
        view.objects = None;
        view.deaths = 0;
    };
    body.save_and_see(memory, fresh).await?;
    body.confirmed.set(true);
    Ok((Obeyed::Yes, After::BeginAgain))
}

/// Until its app is told to stop, a leaving instance can come back. After that it goes on.
async fn take_back<S: Seams>(
    body: &Body<'_, S>,
    mut memory: Memory,
    order: Order,
) -> Result<(Obeyed, After), Problem> {
    let view = body.view();
    let old = memory
        .release
        .clone()
        .filter(|_| matches!(view.phase, Phase::Leaving | Phase::Idle | Phase::Serving));
    let running = body.seams.runtime().adopt().await.apps;
    if let Some(old) = old.filter(|old| running.iter().any(|app| app.release == *old)) {
        return begin(body, memory, order, Goal::Serve { release: old }).await;
    }
    // It goes on as it was, and answers for the new fence when it is there.
    if let Some(kept) = &mut memory.order {
        kept.fence = order.fence;
    }
    body.save(memory).await?;
    Ok((Obeyed::Not("its app was stopped already; it goes on".to_owned()), After::GoOn))
}

/// Accepted only while the hold lives: else the old app may be serving. The gate is the judge; only when it has
/// turned the hold into a seal is the seal stored, and only then is the app stopped.
async fn seal<S: Seams>(
    body: &Body<'_, S>,
    mut memory: Memory,
    order: Order,
    hold: HoldId,
) -> Result<(Obeyed, After), Problem> {
    let view = body.view();
    let held = view.phase == Phase::Held && view.hold.as_ref() == Some(&hold);
    let sealed = match body.seams.gate().seal(held.then_some(&hold)).await {
        Ok(Ok(())) => true,
        Ok(Err(_)) => planted(Bug::SealAfterLapse),
        Err(error) => return Ok((Obeyed::Not(error.to_string()), After::GoOn)),
    };
    if !sealed {
        memory.done = order.fence;
        let over = Problem::new("hold", "it was over before the seal was asked for");
        body.save_and_see(memory, |view| view.problem = Some(over)).await?;
        return Ok((Obeyed::Not("its gate does not hold any more".to_owned()), After::GoOn));
    }
    body.gate_is(Passing::Sealed);
    let goal = Goal::Sealed { deployment: order.deployment.clone() };
    begin(body, memory, order, goal).await
}

/// A run that was accepted once is never accepted again, whatever became of it.
async fn migrate<S: Seams>(
    body: &Body<'_, S>,
    mut memory: Memory,
    order: Order,
    run: Run,
) -> Result<(Obeyed, After), Problem> {
    let known = memory.migration.as_ref().is_some_and(|granted| granted.run == run);
    if known {
        memory.order = Some(order);
        body.save(memory).await?;
        return Ok((Obeyed::Already, After::GoOn));
    }
    if memory.goal != (Some(Goal::Sealed { deployment: run.deployment.clone() })) {
        return Ok((Obeyed::Not("it is not sealed for this deployment".to_owned()), After::GoOn));
    }
    memory.migration = Some(Granted { run, stage: RunStage::Accepted });
    memory.order = Some(order);
    body.save(memory).await?;
    // This run of the agent took it, so this one begins it; a later one only asks what became of it.
    body.confirmed.set(true);
    Ok((Obeyed::Yes, After::BeginAgain))
}
