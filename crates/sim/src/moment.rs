//! The moments that accidents are made of: a fault that meets what it is feared for. A world counts them, so that a test can
//! tell an accident that was survived from one that never happened.

use crate::fault::Fault;
use crate::trace::{Death, Event, HostNo, What};
use crate::world::World;
use crate::world::host::{Host, number};
use crate::world::releases::{Conduct, migration_id};
use everup_core::deployment::State;
use everup_core::gate::Passing;
use everup_core::ids::Term;
use everup_core::instance::Goal;
use everup_core::order::Task;
use everup_core::record::Progress;
use std::collections::BTreeMap;

/// A moment.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) enum Moment {
    /// An order came to one that had stored a higher fence, which refused it.
    OlderOrderRefused,
    /// The coordinator and some instance did not reach each other while the fleet was being sealed.
    CutOffWhileSealing,
    /// The coordinator died with some instances sealed, and no migration granted.
    LeaderDiedWhileSealing,
    /// The coordinator died in the middle of a deployment.
    LeaderDied,
    /// An instance booted while a newcomer must not start anything.
    BootedWhileSealed,
    /// A deployment began of a release whose migration had been applied before.
    MigrationAsAgain,
    /// Two asked at once, and the second was refused.
    LostTheRace,
    /// The coordinator was lost with its zone.
    LeaderLostWithZone,
    /// A coordinator woke, and another one led.
    WokeDeposed,
    /// An order came to another instance than it was meant for.
    OrderAstray,
    /// A write came to the store after its writer had given up: its condition had to decide.
    WriteCameLate,
    /// Whoever wanted to write `version.properties` found that another one had written it meanwhile.
    MirrorLost,
    /// Of two instances one was ill in the middle of a roll.
    OneOfTwoIll,
    /// The group ended an instance in the middle of a roll.
    EndedInARoll,
    /// It launched one.
    LaunchedInARoll,
    /// After its migration the new release turned out to be bad.
    BadAfterMigration,
    /// A roll waited for a database that was away for all.
    RollWaitedForDatabase,
    /// A coordinator of a roll was told of members that were others by then.
    StaleListInARoll,
    /// An instance moved without overlap, for want of room.
    MovedWithoutRoom,
    /// The coordinator and an instance refused each other because of their clocks.
    ClocksApart,
    /// The store went away while the fleet was being sealed.
    StoreAwayWhileSealing,
    /// The store went away in the middle of a roll.
    StoreAwayInARoll,
    /// One host did not reach the store any more in the middle of a roll.
    CutOffFromStoreInARoll,
    /// A gate was lost with requests that waited in it.
    GateLostWithRequests,
    /// An app died while its gate held.
    AppDiedWhileHeld,
    /// A machine that was sealed booted again while the others were.
    BootedAsSealed,
    /// An app died in the middle of a roll.
    AppDiedInARoll,
    /// An agent was killed in the middle of a roll.
    AgentDiedInARoll,
    /// A gate was lost in the middle of a roll.
    GateLostInARoll,
    /// An instance vanished without a word while it was updated.
    VanishedInUpdate,
    /// A roll paused because a second one had.
    PausedForTheVanished,
    /// A migration was taken back by its undo.
    TakenBack,
    /// A newcomer proved a release that an empty fleet had taken.
    TrialPassed,
    /// A fleet fell back from a release that an empty fleet had taken.
    FellBackFromTrial,
    /// An app or an agent died while its instance made a release ready.
    DiedWhileStaging,
}

/// How often each was there.
#[derive(Debug, Default)]
pub(crate) struct Moments {
    seen: BTreeMap<Moment, u64>,
    /// Coordinators that sleep, and the term that they lead in.
    sleep: BTreeMap<HostNo, Term>,
}

impl Moments {
    /// It is there.
    pub(crate) fn note(&mut self, moment: Moment) {
        *self.seen.entry(moment).or_default() += 1;
    }

    /// All of them.
    pub(crate) fn seen(&self) -> BTreeMap<Moment, u64> {
        self.seen.clone()
    }
}

/// Looks at `event`, before anything of the world has changed because of it.
pub(crate) fn look(world: &mut World, event: &Event) {
    let state = world.current().map(|record| record.state);
    let moment = match state {
        Some(State::Rolling) => in_a_roll(world, event),
        Some(State::Sealing) => while_sealing(world, event),
        _ => None,
    };
    let others = [
        moment,
        of_leaders(world, event),
        of_deployments(world, event),
        of_instances(world, event),
        of_trials(world, event),
    ];
    for moment in others.into_iter().flatten() {
        world.moments.note(moment);
    }
}

fn in_a_roll(world: &World, event: &Event) -> Option<Moment> {
    match &event.what {
        What::Terminating => Some(Moment::EndedInARoll),
        What::Launched(_) => Some(Moment::LaunchedInARoll),
        What::AppEnded(_, _, Death::Own) => Some(Moment::AppDiedInARoll),
        What::AgentCrashed => Some(Moment::AgentDiedInARoll),
        What::Fault(Fault::GateLost) => Some(Moment::GateLostInARoll),
        What::Fault(Fault::StoreAway) => Some(Moment::StoreAwayInARoll),
        What::Fault(Fault::StoreCutOff) => Some(Moment::CutOffFromStoreInARoll),
        What::Fault(Fault::HostLost) => {
            let host = world.host_no(event.host?);
            let entry = world.current()?.instances.get(&host.id)?;
            (entry.progress == Progress::Updating).then_some(Moment::VanishedInUpdate)
        }
        What::Record { .. } => {
            let here: Vec<&Host> = world.hosts.values().filter(|host| host.alive).collect();
            let ill = here.iter().filter(|host| host.ill_until > event.at).count();
            (here.len() == 2 && ill == 1).then_some(Moment::OneOfTwoIll)
        }
        _ => None,
    }
}

fn while_sealing(world: &World, event: &Event) -> Option<Moment> {
    let leader = leader(world);
    match &event.what {
        What::AgentCrashed if event.host == leader => {
            let is_sealed = |host: &Host| {
                let goal = host.journal.as_ref().and_then(|memory| memory.goal.as_ref());
                matches!(goal, Some(Goal::Sealed { .. }))
            };
            world.hosts.values().any(is_sealed).then_some(Moment::LeaderDiedWhileSealing)
        }
        What::Fault(Fault::StoreAway) => Some(Moment::StoreAwayWhileSealing),
        _ => None,
    }
}

fn of_leaders(world: &mut World, event: &Event) -> Option<Moment> {
    let (leader, no) = (leader(world), event.host?);
    let term = world.objects.head.as_ref()?.term;
    match &event.what {
        What::Fault(Fault::AgentPause) if leader == Some(no) => {
            world.moments.sleep.insert(no, term);
            None
        }
        What::AgentResumed => {
            let led = world.moments.sleep.remove(&no)?;
            (led < term).then_some(Moment::WokeDeposed)
        }
        What::AgentCrashed if leader == Some(no) && world.current().is_some() => Some(Moment::LeaderDied),
        What::Lost if leader == Some(no) => {
            let zone = world.host_no(no).zone;
            world.fleet.zones_away.contains(&zone).then_some(Moment::LeaderLostWithZone)
        }
        _ => None,
    }
}

fn of_deployments(world: &World, event: &Event) -> Option<Moment> {
    if let What::Refused(_) = &event.what {
        return world.law.asked.lost_the_race().then_some(Moment::LostTheRace);
    }
    let What::Record { id, state, .. } = &event.what else { return None };
    let now = world.record(id)?;
    let release = world.releases.of(&now.to);
    let Some(before) = &world.law.record_before else {
        let applied = world.database.done.contains_key(&(migration_id(release.schema), false));
        return (applied && release.migration.is_some()).then_some(Moment::MigrationAsAgain);
    };
    let bad = *state == State::Failed && before.state == State::Starting && release.conduct != Conduct::Good;
    let cramped = |record: &everup_core::record::Record| {
        record.instances.values().filter(|entry| entry.cramped.is_some()).count()
    };
    let asks = |record: &everup_core::record::Record| record.state == State::Paused && record.asks();
    match () {
        () if asks(now) && !asks(before) => Some(Moment::PausedForTheVanished),
        () if now.take_back.is_some() && before.state != *state && *state == State::Starting => {
            Some(Moment::TakenBack)
        }
        () if bad && now.migrated() => Some(Moment::BadAfterMigration),
        () if cramped(now) > cramped(before) => Some(Moment::MovedWithoutRoom),
        () => None,
    }
}

fn of_instances(world: &World, event: &Event) -> Option<Moment> {
    let state = || world.current().map(|record| record.state);
    match &event.what {
        What::Answered { obeyed: "older", lower: true, fence } if fence.rev.0 > 0 => {
            Some(Moment::OlderOrderRefused)
        }
        What::AgentStarted(1) => {
            (state()?.newcomers_wait() && state()? != State::Pending).then_some(Moment::BootedWhileSealed)
        }
        What::AppEnded(_, _, Death::Own) if world.host_no(event.host?).gate.passing() == Passing::Held => {
            Some(Moment::AppDiedWhileHeld)
        }
        What::Fault(Fault::Reboot) => {
            let goal = world.host_no(event.host?).journal.as_ref()?.goal.clone();
            let is_sealed = matches!(goal, Some(Goal::Sealed { .. })) && state()?.newcomers_wait();
            is_sealed.then_some(Moment::BootedAsSealed)
        }
        What::AgentCrashed | What::AppEnded(_, _, Death::Own) => {
            let memory = world.host_no(event.host?).journal.as_ref()?;
            let order = memory.order.as_ref().filter(|order| memory.done < order.fence)?;
            let stages = matches!(order.task, Task::Stage { .. }) && state() == Some(State::Staging);
            stages.then_some(Moment::DiedWhileStaging)
        }
        _ => None,
    }
}

/// A release that an empty fleet took has proven itself, or the fleet begins to fall back from it.
fn of_trials(world: &World, event: &Event) -> Option<Moment> {
    if !matches!(event.what, What::Head { .. }) {
        return None;
    }
    let (now, before) = (world.objects.head.as_ref()?, world.law.head_before.as_ref()?);
    let trial = before.on_trial()?;
    let begun = now.current.as_ref().map(|current| &current.request);
    match begun {
        None => (now.proven.as_ref() == Some(trial)).then_some(Moment::TrialPassed),
        Some(request) => request.by.contains("does not serve").then_some(Moment::FellBackFromTrial),
    }
}

/// Who holds the lease.
pub(crate) fn leader(world: &World) -> Option<HostNo> {
    number(&world.objects.head.as_ref()?.lease.as_ref()?.holder)
}
