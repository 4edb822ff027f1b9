//! An instance that has no goal: it announces itself, then asks head what it is to run.
//!
//! The announcement comes before the read, and head is read again just before anything is started. A coordinator
//! writes `sealing` before it lists the announcements: of the two, one sees the other.

use super::body::Body;
use crate::bugs::{Bug, planted};
use crate::object::{Swapped, read, swap};
use everup_core::deployment::State;
use everup_core::head::{Head, head_key};
use everup_core::ids::{Fence, InstanceId, Term, WriteId};
use everup_core::instance::{ANNOUNCEMENT_FORM, Announcement, Goal, Phase};
use everup_core::order::Task;
use everup_core::plan::head_after;
use everup_core::record::{Record, instance_key, record_key};
use everup_core::release::ReleaseRef;
use everup_core::seams::{Chance, Clock, Seams, StoreError};
use everup_core::time::Millis;

/// Between two looks at head while a deployment runs; the coordinator usually speaks first.
const LOOK_DURING: Millis = Millis(2_000);
/// Between two looks at head of an instance that waits for the first release.
const LOOK_IDLE: Millis = Millis(30_000);
/// Between two tries to reach a store that does not answer; doubled up to the idle look.
const LOOK_AGAIN: Millis = Millis(500);

/// What head says to a newcomer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Wanted {
    /// Run this.
    Run(ReleaseRef),
    /// Start nothing, for this reason.
    Wait(String, Millis),
}

/// Learns what to run and makes it the goal.
pub(super) async fn find_a_goal<S: Seams>(body: &Body<'_, S>) {
    body.phase(Phase::Announced, None);
    announce(body).await;
    let release = loop {
        match ask_surely(body).await {
            Wanted::Run(release) => break release,
            Wanted::Wait(why, span) => {
                body.phase(Phase::Waiting, Some(why));
                body.pause(span).await;
            }
        }
    };
    body.remember(move |memory| memory.goal = Some(Goal::Serve { release })).await;
}

/// Reads head once after the agent has begun, beside all else: until then it obeys nobody, and from then on nobody of an
/// older term.
pub(super) async fn learn_the_term<S: Seams>(body: &Body<'_, S>) {
    let mut span = LOOK_AGAIN;
    let term = loop {
        match read::<Head>(body.seams, &head_key(&body.who.environment)).await {
            Ok(head) => break head.map_or(Term(0), |head| head.value.term),
            Err(_) => body.pause(span).await,
        }
        span = Millis((span.0 * 2).min(LOOK_IDLE.0));
    };
    body.remember_beside(move |memory| memory.fence = memory.fence.max(Fence::greeting(term))).await;
    body.informed.set(true);
}

/// Puts the announcement into the store, once in its life; goes on only when it is known to be there. An order may
/// come before a newcomer has asked head anything, so this is looked at again before anything is started.
pub(super) async fn announce<S: Seams>(body: &Body<'_, S>) {
    if body.memory().announced || planted(Bug::SilentNewcomer) {
        return;
    }
    let key = instance_key(&body.who.environment, &body.who.id);
    let mut span = LOOK_AGAIN;
    while let Err(error) = try_to_announce(body, &key).await {
        body.phase(Phase::Announced, Some(format!("the store to take its announcement: {error}")));
        body.pause(span).await;
        span = Millis((span.0 * 2).min(LOOK_IDLE.0));
    }
    body.remember(|memory| memory.announced = true).await;
}

async fn try_to_announce<S: Seams>(body: &Body<'_, S>, key: &str) -> Result<(), StoreError> {
    let found = read::<Announcement>(body.seams, key).await?;
    let announcement = Announcement {
        form: ANNOUNCEMENT_FORM,
        write: WriteId::new("unwritten").expect("a plain word is a valid id"),
        id: body.who.id.clone(),
        zone: body.who.zone.clone(),
        address: body.who.address.clone(),
        at: body.seams.clock().wall(),
    };
    let etag = found.map(|found| found.etag);
    match swap(body.seams, key, etag.as_ref(), announcement).await? {
        // Only this instance writes its key; a rival is an earlier life of its own, and announces as well.
        Swapped::Done(_) | Swapped::Rival(_) => Ok(()),
    }
}

async fn ask_surely<S: Seams>(body: &Body<'_, S>) -> Wanted {
    let mut span = LOOK_AGAIN;
    loop {
        match ask(body, None).await {
            Ok(wanted) => return wanted,
            Err(error) => body.phase(Phase::Waiting, Some(format!("the store to say what to run: {error}"))),
        }
        body.pause(span).await;
        span = Millis((span.0 * 2).min(LOOK_IDLE.0));
    }
}

/// What head, and the record of the deployment that runs, want a newcomer to do now, or one that was `ordered` to run a
/// release before its agent began anew.
pub(super) async fn ask<S: Seams>(
    body: &Body<'_, S>,
    ordered: Option<&ReleaseRef>,
) -> Result<Wanted, StoreError> {
    let environment = &body.who.environment;
    let head = read::<Head>(body.seams, &head_key(environment)).await?.map(|head| head.value);
    let Some(mut head) = head else {
        return Ok(wait_for_the_first(body));
    };
    if let Some(current) = &head.current {
        let record = read::<Record>(body.seams, &record_key(environment, &current.id)).await?;
        let record = record.map(|record| record.value);
        if let Some(release) = ordered
            && record.as_ref().is_some_and(|record| stands(record, &body.who.id, release))
            && head.allows(release)
        {
            return Ok(Wanted::Run(release.clone()));
        }
        // One that has no record yet is pending.
        let state = record.as_ref().map_or(State::Pending, |record| record.state);
        if state.newcomers_wait() {
            let why = format!("deployment {} is {state}: it says when to start", current.id);
            return Ok(Wanted::Wait(why, LOOK_DURING));
        }
        // Its coordinator may have died between the last write of the record and that of head.
        if let Some(ended) = record.filter(|record| record.state.is_final()) {
            head = head_after(&head, &ended);
        }
    }
    Ok(match head.newcomers.clone() {
        Some(release) if head.allows(&release) => Wanted::Run(release),
        Some(release) => Wanted::Wait(format!("release {release} is forbidden since a migration"), LOOK_IDLE),
        None if head.current.is_some() => {
            Wanted::Wait("the first deployment to reach it".to_owned(), LOOK_DURING)
        }
        None => wait_for_the_first(body),
    })
}

/// Whether no deployment runs and the environment wants another release than `present`, which does not start here. An
/// instance that a deployment left behind has nothing to lose: it takes what a newcomer takes.
pub(super) async fn has_moved_on<S: Seams>(body: &Body<'_, S>, present: &ReleaseRef) -> bool {
    let Ok(Some(head)) = read::<Head>(body.seams, &head_key(&body.who.environment)).await else {
        return false;
    };
    let head = head.value;
    let wanted = head.newcomers.as_ref().filter(|release| head.allows(release));
    head.current.is_none() && wanted.is_some_and(|wanted| wanted != present)
}

/// Whether `id` was told last to run `release`, by a deployment that is not over.
fn stands(record: &Record, id: &InstanceId, release: &ReleaseRef) -> bool {
    let granted = record.instances.get(id).and_then(|entry| entry.granted.as_ref()).map(|grant| &grant.task);
    let ordered = match granted {
        Some(Task::Update { release, .. } | Task::Start { release, .. }) => Some(release),
        _ => None,
    };
    let due = if record.state == State::RollingBack { record.from.as_ref() } else { Some(&record.to) };
    !record.state.is_final() && ordered == Some(release) && ordered == due
}

fn wait_for_the_first<S: Seams>(body: &Body<'_, S>) -> Wanted {
    // Jitter, so that a fleet that boots together does not ask together ever after.
    let jitter = body.seams.chance().next() % (LOOK_IDLE.0 / 2);
    Wanted::Wait(
        "nothing is deployed yet: everup deploy VERSION".to_owned(),
        Millis(LOOK_IDLE.0 / 2 + jitter),
    )
}
