//! Single steps with the app: make it ready, start it, wait until it is healthy.

use super::body::Body;
use everup_core::ids::{Fence, StartId};
use everup_core::instance::{Exit, Health, Memory, Phase, Problem, Running, Slot};
use everup_core::order::{Order, Task};
use everup_core::release::{Fetched, ReleaseRef};
use everup_core::seams::{Chance, Clock, Runtime, Seams, Stage};
use everup_core::time::Millis;
use futures_util::{FutureExt, pin_mut, select_biased};

/// Carries out an order to stage, beside whatever the instance does.
pub(super) async fn stage<S: Seams>(body: &Body<'_, S>, order: Order) {
    let Task::Stage { release, fallback } = &order.task else { return };
    let fallback = fallback.clone();
    body.stages.set(true);
    let outcome = async {
        make_room(body, release, fallback.as_ref()).await;
        let mut fetched = body.seams.stage().ensure(release).await?;
        // What was here already was verified when it was made, which may be long ago.
        if fetched.bytes == 0 && body.seams.stage().verify(release).await.is_err() {
            fetched = body.seams.stage().ensure(release).await?;
        }
        match &fallback {
            // What a rollback needs is fetched again where it can be, before anything is touched.
            Some(fallback) if body.seams.stage().verify(fallback).await.is_err() => {
                Ok(fetched.with(body.seams.stage().ensure(fallback).await?))
            }
            _ => Ok(fetched),
        }
    };
    let outcome: Result<Fetched, Problem> = outcome.await;
    match outcome {
        Ok(fetched) => {
            let (release, fence) = (release.clone(), order.fence);
            body.see(|view| {
                view.fetched = Some(fetched);
                view.staged.insert(release);
            });
            body.remember_beside(move |memory| is_done(memory, fence)).await;
        }
        Err(problem) => {
            let check = format!("stage: {}", problem.check);
            body.see(|view| view.problem = Some(Problem { check, ..problem }));
        }
    }
    body.stages.set(false);
}

/// Before anything is fetched, what nobody here needs any more goes: all but the release that comes, the one to go back to,
/// and what ran here last and before that.
async fn make_room<S: Seams>(body: &Body<'_, S>, release: &ReleaseRef, fallback: Option<&ReleaseRef>) {
    let memory = body.memory();
    let mut keep: Vec<ReleaseRef> = [Some(release.clone()), fallback.cloned(), memory.release, memory.before]
        .into_iter()
        .flatten()
        .collect();
    keep.extend(body.seams.runtime().adopt().await.apps.into_iter().map(|app| app.release));
    body.seams.stage().prune(&keep).await;
}

/// Writes down that the order of `fence` is carried out.
pub(super) async fn done<S: Seams>(body: &Body<'_, S>, fence: Fence) {
    body.remember(move |memory| is_done(memory, fence)).await;
}

fn is_done(memory: &mut Memory, fence: Fence) {
    memory.done = memory.done.max(fence);
    memory.problem = None;
}

/// Starts `release` where there is room, remembering first that it is what runs here.
pub(super) async fn start<S: Seams>(
    body: &Body<'_, S>,
    release: &ReleaseRef,
    slot: Slot,
) -> Result<Running, Problem> {
    let remembered = release.clone();
    body.remember(move |memory| memory.release = Some(remembered)).await;
    let id = StartId::new(format!("{:016x}", body.seams.chance().next())).expect("hex digits are a valid id");
    body.seams.runtime().start(release, slot, &id).await
}

/// Waits until `app` passed its checks so often in a row as it must; returns it with the address where it answers.
pub(super) async fn wait_healthy<S: Seams>(
    body: &Body<'_, S>,
    app: &Running,
    within: Millis,
) -> Result<Running, Problem> {
    let care = &body.who.care;
    let deadline = body.now() + within;
    let exited = body.seams.runtime().exited(app).fuse();
    pin_mut!(exited);
    let (mut passed, mut last) = (0, None);
    loop {
        let enough = passed + 1 >= care.successes.max(1);
        let check = async {
            let verdict = body.seams.runtime().check(app).await;
            if verdict.is_ok() && enough {
                return verdict;
            }
            body.pause(care.starting_interval).await;
            verdict
        };
        let check = check.fuse();
        pin_mut!(check);
        let late = body.seams.clock().until(deadline).fuse();
        pin_mut!(late);
        select_biased! {
            exit = exited => return Err(ended("start", &exit)),
            verdict = check => match verdict {
                Ok(health) if health.version.as_ref().is_some_and(|says| *says != app.release.version) => {
                    return Err(wrong_version(app, health));
                }
                Ok(health) => {
                    passed += 1;
                    if passed >= care.successes.max(1) {
                        let mut app = app.clone();
                        app.upstream.address = health.address.unwrap_or(app.upstream.address);
                        return Ok(app);
                    }
                }
                Err(problem) => {
                    passed = 0;
                    say_why_not(body, &problem, within);
                    last = Some(problem);
                }
            },
            () = late => return Err(not_in_time(last, within)),
        }
    }
}

fn say_why_not<S: Seams>(body: &Body<'_, S>, problem: &Problem, within: Millis) {
    let waiting =
        format!("its first passed check, {within} from its start; the last one said: {}", problem.reason);
    if body.view().phase != Phase::Ill {
        body.see(|view| view.waiting = Some(waiting));
    }
}

fn not_in_time(last: Option<Problem>, within: Millis) -> Problem {
    let mut problem = last.unwrap_or_else(|| Problem::new("health check", "it did not end"));
    problem.reason = format!("not healthy within {within}: {}", problem.reason);
    problem
}

fn wrong_version(app: &Running, health: Health) -> Problem {
    let says = health.version.map_or_else(|| "nothing".to_owned(), |version| version.to_string());
    let reason = format!("the app reports version {says}, the release is {}", app.release);
    Problem { log: health.log, ..Problem::new("version", reason) }
}

/// The problem of an app that ended without being asked to.
pub(super) fn ended(check: &str, exit: &Exit) -> Problem {
    Problem { check: check.to_owned(), reason: format!("the app ended: {}", exit.how), log: exit.log.clone() }
}
