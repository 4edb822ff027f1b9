//! Into service on a release, from wherever the instance is: a boot, an update, a way back, a restart of the agent.
//!
//! The order of a stop: out of the balancer, gate shut, nothing in flight, the app told to stop. The port never
//! closes: the gate keeps what arrives meanwhile.

use super::app::{done, start, wait_healthy};
use super::beside;
use super::body::Body;
use super::newcomer::{Wanted, announce, ask, has_moved_on};
use super::tend::{Proof, Tended, tend};
use everup_core::gate::{Drain, Passing};
use everup_core::ids::Fence;
use everup_core::instance::{Phase, Problem, Running, Slot};
use everup_core::order::{Limits, Task};
use everup_core::release::ReleaseRef;
use everup_core::seams::{Fleet, Gate, Runtime, Seams, Stage};
use everup_core::time::{Millis, Mono};
use futures_util::{FutureExt, pin_mut, select_biased};

/// How often the gate or the fleet is asked again when it does not answer (its process is being replaced).
pub(super) const ASK_AGAIN: Millis = Millis(200);
/// The longest wait between two restarts of an app that dies at once.
const LONGEST_BACK_OFF: Millis = Millis(60_000);

/// Why an attempt ended.
pub(super) enum Ended {
    /// The app does not start, or died.
    Ill(Problem),
    /// The new release died beside the old one, which serves again.
    BackOnOld(Running, Problem),
    /// Head wants something else.
    OtherGoal,
}

/// Serves `release`, for as long as that is the goal.
pub(super) async fn serve<S: Seams>(body: &Body<'_, S>, release: &ReleaseRef, task: Option<&Task>) {
    let limits = limits_of(body, task);
    let mut back_off = body.who.care.back_off;
    loop {
        let began = body.now();
        match attempt(body, release, task, &limits).await {
            Ended::OtherGoal => return,
            Ended::BackOnOld(old, problem) => return beside::stay(body, &old, problem, task.is_some()).await,
            Ended::Ill(problem) => {
                // Of a disk that is full, or an archive that does not come, the release knows nothing.
                if task.is_none() && !body.view().steady && !problem.check.starts_with("stage") {
                    body.give_up_on(release);
                }
                fall_ill(body, problem).await;
            }
        }
        // One that runs and is not well yet is not started again, but looked at: it may take long to start.
        let runs = body.look_at_apps().await.iter().any(|app| app.release == *release);
        let lived = body.now().since(began) > LONGEST_BACK_OFF;
        back_off = if lived || runs {
            body.who.care.back_off
        } else {
            Millis((back_off.0 * 2).min(LONGEST_BACK_OFF.0))
        };
        body.pause(back_off).await;
        if has_moved_on(body, release).await {
            body.confirmed.set(false);
            return body.remember(|memory| memory.goal = None).await;
        }
    }
}

fn limits_of<S: Seams>(body: &Body<'_, S>, task: Option<&Task>) -> Limits {
    match task {
        Some(Task::Update { limits, .. } | Task::Start { limits, .. }) => *limits,
        _ => body.own_limits(),
    }
}

/// One attempt, from what is found running to the app's death.
async fn attempt<S: Seams>(
    body: &Body<'_, S>,
    release: &ReleaseRef,
    task: Option<&Task>,
    limits: &Limits,
) -> Ended {
    let fence = body.order_fence();
    while let Err(error) = body.look_at_gate().await {
        body.see(|view| view.waiting = Some(format!("its gate to answer: {error}")));
        body.pause(ASK_AGAIN).await;
    }
    let found = body.look_at_apps().await;
    let (mine, others): (Vec<Running>, Vec<Running>) =
        found.into_iter().partition(|app| app.release == *release);
    let mine = mine.into_iter().next();
    if mine.is_none() {
        if let Err(problem) = body.seams.stage().ensure(release).await {
            return match others.into_iter().next() {
                // Nothing was touched: the old app serves on.
                Some(old) => Ended::BackOnOld(old, problem),
                None => Ended::Ill(problem),
            };
        }
        let staged = release.clone();
        body.see(|view| {
            view.staged.insert(staged);
        });
    }
    // Beside an old app only where it serves: a gate that is not open has nothing to lose, and must not be opened into
    // an old app that never came up.
    let serves = body.may_be_open();
    let is_there = mine.is_some();
    let serves_already = serves && mine.as_ref().is_some_and(|app| body.was_sent_to(app));
    let others = if serves_already {
        // It never left: what was coming up beside it is not wanted any more, well or not.
        beside::retire(body, &others, limits).await;
        Vec::new()
    } else if limits.overlap {
        beside::retire_former(body, others, limits).await
    } else {
        others
    };
    let is_beside = limits.overlap && others.len() < 2 && (others.is_empty() || serves);
    if mine.is_none()
        && let Some(old) = others.first()
        && let Some(objection) = objection(body, old, limits, is_beside).await
    {
        return wait_for_leave(body, old, objection).await;
    }
    if !is_beside {
        stop_all(body, &others, limits).await;
    }
    if mine.is_none() && !may_start(body, release, task).await {
        return Ended::OtherGoal;
    }
    let old = others.first().filter(|_| is_beside);
    match (bring_up(body, release, mine, old, limits).await, old) {
        // Of two that were found running one serves, perhaps this one: neither is stopped while that is not known.
        (Err(problem), Some(old)) if !is_there || body.sends_to(old) => {
            beside::give_up(body, release, old, limits, problem).await
        }
        (Err(problem), _) => Ended::Ill(problem),
        (Ok(app), old) => in_service(body, app, old.map(|old| (old, is_there)), task, limits, fence).await,
    }
}

/// Why the order cannot be carried out as it was granted, if it cannot.
async fn objection<S: Seams>(
    body: &Body<'_, S>,
    old: &Running,
    limits: &Limits,
    is_beside: bool,
) -> Option<String> {
    if is_beside {
        return body.seams.runtime().room_beside(old).await.err();
    }
    let taken_for_out = limits.spare && body.may_be_open();
    let serves = taken_for_out && is_balanced(body).await && answers(body, std::slice::from_ref(old)).await;
    serves.then(|| "it serves, and was taken for out of service".to_owned())
}

/// Whether the balancer sends to this instance, as far as is known.
async fn is_balanced<S: Seams>(body: &Body<'_, S>) -> bool {
    let members = body.seams.fleet().members(0).await;
    members.is_ok_and(|members| members.members.get(&body.who.id).is_some_and(|me| me.balanced))
}

/// Serves on with `old` until the coordinator says that the others can spare it.
async fn wait_for_leave<S: Seams>(body: &Body<'_, S>, old: &Running, objection: String) -> Ended {
    body.see(|view| {
        view.phase = Phase::Serving;
        view.waiting = Some(format!("leave to move: {objection}"));
        view.objects = Some(objection);
    });
    let never = Proof { at: Mono(u64::MAX), ordered: false };
    match tend(body, old, never, false).await {
        Tended::Died(problem) => died(body, old, never, problem).await,
        Tended::Proven => Ended::OtherGoal,
    }
}

/// Just before anything is started head is read again: a deployment may have begun to seal. What was ordered since
/// the agent began needs no more: the coordinator has read head, and greeted.
async fn may_start<S: Seams>(body: &Body<'_, S>, release: &ReleaseRef, task: Option<&Task>) -> bool {
    let ordered = task.map(|_| release);
    announce(body).await;
    if body.confirmed.get() {
        return true;
    }
    loop {
        match ask(body, ordered).await {
            Ok(Wanted::Run(wanted)) if wanted == *release => {
                body.confirmed.set(true);
                return true;
            }
            Ok(Wanted::Run(_) | Wanted::Wait(..)) => {
                body.remember(|memory| memory.goal = None).await;
                return false;
            }
            Err(error) => {
                body.phase(Phase::Waiting, Some(format!("the store, before it may start anything: {error}")));
                body.pause(Millis(1_000)).await;
            }
        }
    }
}

async fn bring_up<S: Seams>(
    body: &Body<'_, S>,
    release: &ReleaseRef,
    mine: Option<Running>,
    old: Option<&Running>,
    limits: &Limits,
) -> Result<Running, Problem> {
    let app = match mine {
        Some(app) => app,
        None => {
            if body.view().phase != Phase::Ill {
                body.phase(if old.is_some() { Phase::Beside } else { Phase::Starting }, None);
            }
            if old.is_some() {
                body.see(|view| view.doubled = true);
            }
            let slot = old.map_or(Slot::A, |old| old.slot.other());
            start(body, release, slot).await?
        }
    };
    let Some(old) = old else {
        body.see(|view| {
            view.running = true;
            view.release = Some(app.release.clone());
        });
        return wait_healthy(body, &app, limits.start).await;
    };
    beside::come_up(body, &app, old, limits).await
}

/// Lets `app` into service, proves it, ends what it replaced, and looks after it. What runs `beside` it served until now, or
/// was found together with it.
async fn in_service<S: Seams>(
    body: &Body<'_, S>,
    app: Running,
    beside: Option<(&Running, bool)>,
    task: Option<&Task>,
    limits: &Limits,
    fence: Fence,
) -> Ended {
    let old = beside.map(|(old, _)| old);
    let on_probation = body.view().deaths > 0 && task.is_some() && !body.view().steady;
    let given_up = body.why_given_up();
    open(body, &app).await;
    join(body).await;
    body.see(|view| {
        view.phase = match (on_probation, old) {
            (true, _) => Phase::Ill,
            (false, None) => Phase::Serving,
            (false, Some(_)) => Phase::Lingering,
        };
        view.waiting = None;
        view.running = true;
        view.release = Some(app.release.clone());
        view.healthy = true;
        view.hold = None;
        if !on_probation {
            view.problem = given_up;
        }
    });
    // An update that could not be taken back any more goes on under that newer fence.
    let stamped = body.memory().order.filter(|order| Some(&order.task) == task).map(|order| order.fence);
    done(body, stamped.map_or(fence, |newer| newer.max(fence))).await;
    let proof = Proof { at: body.now() + limits.prove, ordered: task.is_some() };
    if let Some(old) = old {
        let linger = Proof { at: body.now() + limits.linger, ..proof };
        if let Tended::Died(problem) = tend(body, &app, linger, true).await {
            // Of two that were found running this one may never have come up.
            let was_found = beside.is_some_and(|(_, found)| found);
            if was_found && !answers(body, std::slice::from_ref(old)).await {
                return died(body, &app, proof, problem).await;
            }
            return beside::back_on(body, old, problem).await;
        }
    }
    let tended = tend(body, &app, proof, false).fuse();
    let ending = beside::end_the_lingering(body, old, limits).fuse();
    pin_mut!(tended, ending);
    let tended = loop {
        select_biased! {
            tended = tended => break tended,
            () = ending => {}
        }
    };
    match tended {
        Tended::Died(problem) => died(body, &app, proof, problem).await,
        Tended::Proven => Ended::OtherGoal,
    }
}

/// The app is gone, and is to be started again.
async fn died<S: Seams>(body: &Body<'_, S>, app: &Running, proof: Proof, problem: Problem) -> Ended {
    let unproven = proof.ordered && !body.view().steady;
    fell(body, app).await;
    body.see(|view| view.deaths += 1);
    let problem = if unproven {
        Problem { reason: format!("{} before it was proven", problem.reason), ..problem }
    } else {
        problem
    };
    Ended::Ill(problem)
}

/// What served is gone: the gate keeps what arrives until there is something to send it to.
pub(super) async fn fell<S: Seams>(body: &Body<'_, S>, app: &Running) {
    shut(body, Millis::ZERO, Millis::ZERO).await;
    // What the app has left behind must not hold its port.
    body.seams.runtime().stop(app, Millis::ZERO).await;
    body.see(|view| {
        view.running = false;
        view.healthy = false;
    });
}

pub(super) async fn fall_ill<S: Seams>(body: &Body<'_, S>, problem: Problem) {
    body.ill(problem.clone());
    body.remember(move |memory| memory.problem = Some(problem)).await;
}

/// Stops everything that is not the goal's release: out of the balancer first, and nothing in flight.
async fn stop_all<S: Seams>(body: &Body<'_, S>, apps: &[Running], limits: &Limits) {
    if apps.is_empty() {
        return;
    }
    let sealed = body.view().gate == Passing::Sealed;
    if !sealed {
        leave_in_turn(body, apps, limits).await;
        shut(body, limits.drain, limits.quiet).await;
        body.phase(Phase::Idle, None);
    }
    // From here on it does not come back: said before it is done.
    body.phase(Phase::Stopped, Some("the old app to end".to_owned()));
    for app in apps {
        body.seams.runtime().stop(app, limits.stop).await;
    }
    body.see(|view| {
        view.running = false;
        view.doubled = false;
        view.healthy = false;
        view.waiting = None;
    });
}

/// Leaves the balancer, but looks once more first: as many others as must be have to be in it. One whose gate is shut serves
/// nobody, and has nothing to wait for.
async fn leave_in_turn<S: Seams>(body: &Body<'_, S>, apps: &[Running], limits: &Limits) {
    if !limits.leave {
        return body.phase(Phase::Leaving, Some("requests inside its app".to_owned()));
    }
    let mut since = 0;
    loop {
        match body.seams.fleet().members(since).await {
            Ok(members) => {
                since = members.seq;
                let me = members.members.get(&body.who.id);
                let inside = me.is_some_and(|member| member.balanced);
                let others = members
                    .members
                    .iter()
                    .filter(|(id, m)| **id != body.who.id && m.balanced && !m.terminating);
                let others = others.count();
                let spared = !inside || !body.may_be_open() || others >= limits.min as usize;
                if spared || !answers(body, apps).await {
                    break;
                }
                let why =
                    format!("others in the balancer: {others}, and {} must be before it leaves", limits.min);
                body.see(|view| view.waiting = Some(why));
            }
            Err(error) => {
                body.see(|view| view.waiting = Some(format!("the fleet to answer: {error}")));
                body.pause(ASK_AGAIN).await;
            }
        }
    }
    body.phase(Phase::Leaving, Some("the balancer, and requests inside its app".to_owned()));
    while let Err(error) = body.seams.fleet().leave().await {
        body.see(|view| view.waiting = Some(format!("the balancer to let it go: {error}")));
        body.pause(ASK_AGAIN).await;
    }
}

/// Whether any of `apps` passes a check now. An agent that has just begun knows of no check yet, and a coordinator may
/// take its instance for one that is out of service.
async fn answers<S: Seams>(body: &Body<'_, S>, apps: &[Running]) -> bool {
    for app in apps {
        if body.seams.runtime().check(app).await.is_ok() {
            body.see(|view| view.healthy = true);
            return true;
        }
    }
    false
}

pub(super) async fn shut<S: Seams>(body: &Body<'_, S>, within: Millis, quiet: Millis) {
    let drain = Drain { within, quiet, limits: body.who.policy.hold };
    body.gate_is(Passing::Draining);
    while let Err(error) = body.seams.gate().drain(&drain).await {
        body.see(|view| view.waiting = Some(format!("its gate to answer: {error}")));
        body.pause(ASK_AGAIN).await;
    }
    body.gate_is(Passing::Shut);
}

pub(super) async fn open<S: Seams>(body: &Body<'_, S>, app: &Running) {
    body.will_send();
    while let Err(error) = body.seams.gate().switch(&app.upstream).await {
        body.see(|view| view.waiting = Some(format!("its gate to answer: {error}")));
        body.pause(ASK_AGAIN).await;
    }
    body.has_sent_to(app);
    while let Err(error) = body.seams.gate().release().await {
        body.see(|view| view.waiting = Some(format!("its gate to answer: {error}")));
        body.pause(ASK_AGAIN).await;
    }
    body.gate_is(Passing::Open);
}

pub(super) async fn join<S: Seams>(body: &Body<'_, S>) {
    if body.view().phase != Phase::Ill {
        body.phase(Phase::Joining, Some("the balancer to let it in".to_owned()));
    }
    while let Err(error) = body.seams.fleet().join().await {
        body.see(|view| view.waiting = Some(format!("the balancer to let it in: {error}")));
        body.pause(ASK_AGAIN).await;
    }
}
