//! Rules 2, 4 and 7, and what part 3 of the design says of leases, greetings and grants.

use crate::trace::{Event, What};
use crate::world::World;
use crate::world::host::name;

/// The shortest time in which a watcher may take a silent holder for dead.
const SHORTEST_LEASE: u64 = 4_500;

/// The steps of a deployment itself.
const FIRST_WRITES: u64 = 12;
/// Made ready, granted, in service, proven; and one for a word that came late.
const WRITES_EACH: u64 = 5;

/// A deployment that is over its bound moves on with its coordinator's next look; a store that is away, or a takeover,
/// may be between the two.
const LATE: u64 = 30_000;

/// A migration is granted again when it is known not to have begun; so often, and something is wrong.
const MOST_RUNS: usize = 20;

/// What was written last came from a later head than what it replaced.
pub(super) fn the_mirror_follows(world: &World, event: &Event) -> Result<(), String> {
    let What::Mirror { says, head } = &event.what else { return Ok(()) };
    if says != head {
        return Err(format!("it says {says}, and names a head by which newcomers take {head}"));
    }
    match (&world.law.mirror_before, &world.objects.mirror) {
        (Some(before), Some(now)) if now.write < before.write => {
            Err(format!("it said {}, by a later head than what now says {}", before.takes, now.takes))
        }
        _ => Ok(()),
    }
}

/// A record is written when something changed, and not for each look: a few times an instance, since every write is a swap of
/// the whole, and a fleet of hundreds would be written for minutes. What faults add is not counted here.
pub(super) fn few_writes(world: &World, event: &Event) -> Result<(), String> {
    let What::Record { id, .. } = &event.what else { return Ok(()) };
    let Some(record) = world.record(id).filter(|_| world.setting.is_calm()) else { return Ok(()) };
    let (writes, instances) = (record.rev.0, record.instances.len() as u64);
    if writes <= FIRST_WRITES + WRITES_EACH * instances {
        Ok(())
    } else {
        Err(format!("{id} was written {writes} times for {instances} instances"))
    }
}

/// One deployment at a time: head names another one only when the one before is over.
pub(super) fn one_at_a_time(world: &World, event: &Event) -> Result<(), String> {
    let What::Head { .. } = &event.what else { return Ok(()) };
    let (Some(now), Some(before)) = (&world.objects.head, &world.law.head_before) else { return Ok(()) };
    let Some(was) = &before.current else { return Ok(()) };
    if now.current.as_ref().map(|current| &current.id) == Some(&was.id) {
        return Ok(());
    }
    match world.objects.records.get(&was.id) {
        Some(record) if record.state.is_final() => Ok(()),
        Some(record) => Err(format!("head dropped {} while it is {}", was.id, record.state)),
        None => Err(format!("head dropped {}, which never had a record", was.id)),
    }
}

/// Nothing goes backwards: neither the term of head, nor the fence of a record or a journal; and an order of a lower
/// fence is not obeyed.
pub(super) fn nothing_goes_backwards(world: &World, event: &Event) -> Result<(), String> {
    let law = &world.law;
    match &event.what {
        What::Head { term, .. } => match &law.head_before {
            Some(before) if *term < before.term => {
                Err(format!("head went from {:?} to {term:?}", before.term))
            }
            _ => Ok(()),
        },
        What::Record { fence, id, .. } => match &law.record_before {
            Some(before) if before.id.as_str() == id && *fence <= before.fence() => {
                Err(format!("the record went from {} to {fence}", before.fence()))
            }
            _ => Ok(()),
        },
        What::Journaled(fence) => match &law.journal_before {
            Some(before) if *fence < before.fence => {
                Err(format!("the journal went from {} to {fence}", before.fence))
            }
            _ => Ok(()),
        },
        What::Answered { fence, obeyed: "yes", lower: true } => {
            Err(format!("it obeyed {fence} although it had stored a higher one"))
        }
        _ => Ok(()),
    }
}

/// A decision is written, then sent: an order that is sent was granted by a record with the same fence and task.
pub(super) fn written_then_sent(world: &World, event: &Event) -> Result<(), String> {
    let (What::OrderSent { .. }, Some(order)) = (&event.what, &world.law.sent) else { return Ok(()) };
    let key = (order.deployment.clone(), order.to.clone(), order.fence);
    match world.objects.grants.get(&key) {
        Some((_, task)) if *task == order.task => Ok(()),
        Some((_, task)) => Err(format!("granted was {task:?}, sent was {:?}", order.task)),
        None => Err(format!("{:?} at {} to {} was never written", order.task, order.fence, order.to)),
    }
}

/// A coordinator greets before it orders: whoever gets an order of a term has stored that term.
pub(super) fn greeted_then_ordered(world: &World, event: &Event) -> Result<(), String> {
    let What::OrderSent { to, fence, task } = &event.what else { return Ok(()) };
    let stored = world.hosts.get(&name(*to)).and_then(|host| host.journal.as_ref());
    match stored {
        Some(memory) if memory.fence.term >= fence.term => Ok(()),
        _ => Err(format!("{task} at {fence} was sent to i{to}, which has not stored that term")),
    }
}

/// Who takes the lease from another has seen it unchanged for long enough. It replaced what it had read, so the last
/// beat must be older than that.
pub(super) fn lease_expires_first(world: &World, event: &Event) -> Result<(), String> {
    let What::Head { .. } = &event.what else { return Ok(()) };
    let lease = |head: &everup_core::head::Head| head.lease.clone();
    let before = world.law.head_before.as_ref().and_then(lease);
    let now = world.objects.head.as_ref().and_then(lease);
    let (Some(before), Some(now)) = (before, now) else { return Ok(()) };
    let age = event.at - world.law.beaten;
    if before.holder != now.holder && age < SHORTEST_LEASE {
        return Err(format!(
            "{} took the lease from {}, whose last beat is {age} ms old",
            now.holder, before.holder
        ));
    }
    Ok(())
}

/// A deployment's states follow each other as [`everup_core::deployment::State::may_become`] says, and it counts no more
/// time than it said it would take.
pub(super) fn legal_steps(world: &World, event: &Event) -> Result<(), String> {
    let What::Record { id, state, .. } = &event.what else { return Ok(()) };
    let runs = world.current().map_or(0, |record| record.runs.len());
    if runs > MOST_RUNS {
        return Err(format!("{id} has granted its migration {runs} times"));
    }
    let before = world.law.record_before.as_ref().filter(|before| before.id.as_str() == id);
    let Some(before) = before else { return Ok(()) };
    if before.state != *state && !before.state.may_become(*state) {
        return Err(format!("{id} went from {} to {state}", before.state));
    }
    let over = before.elapsed.0.saturating_sub(before.until().0);
    if before.state.counts_time() && before.state == *state && over > LATE {
        return Err(format!("{id} is {state} for {over} ms longer than it may be"));
    }
    Ok(())
}
