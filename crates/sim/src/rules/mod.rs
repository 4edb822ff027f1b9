//! The rules that always hold (design part 4), asked after every event, against the truth of the world and not
//! against what the engine believes of it.
//!
//! A rule is one function: it looks at the events that could break it, and says how it was broken.

mod capacity;
mod failures;
mod fallback;
mod fences;
mod migrations;
mod releases;
pub(crate) mod requests;
mod scaling;
mod service;
mod shared;
mod told;
mod zones;

use crate::trace::{Event, HostNo, What};
use crate::world::objects::Mirrored;
use crate::world::{EPOCH, World};
use everup_core::deployment::State;
use everup_core::head::Head;
use everup_core::ids::DeploymentId;
use everup_core::instance::Memory;
use everup_core::order::Order;
use everup_core::record::Record;
use everup_core::status::Status;
use std::collections::{BTreeMap, BTreeSet};

/// A rule that was broken.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Broken {
    /// Which.
    pub rule: &'static str,
    /// How.
    pub how: String,
}

/// What the rules remember, and what the world hands them beside an event.
#[derive(Debug, Default)]
pub(crate) struct Law {
    /// Head before the last write.
    pub(crate) head_before: Option<Head>,
    /// What `version.properties` said before.
    pub(crate) mirror_before: Option<Mirrored>,
    /// The written record's form before.
    pub(crate) record_before: Option<Record>,
    /// The saved journal's form before.
    pub(crate) journal_before: Option<Memory>,
    /// The order that was sent last.
    pub(crate) sent: Option<Order>,
    /// When a fault took something from a host last, by host.
    pub(crate) hurt: Vec<(u64, HostNo)>,
    /// From when until when an agent slept last, by host.
    pub(crate) slept: BTreeMap<HostNo, (u64, u64)>,
    /// When the lease was renewed or taken last.
    pub(crate) beaten: u64,
    /// When the database was away last.
    pub(crate) database_away: Option<u64>,
    /// Since when it is away, while it is.
    pub(crate) away_since: Option<u64>,
    /// Hosts whose disks lost a release by a fault.
    pub(crate) rotten: BTreeSet<HostNo>,
    /// What coordinators were told.
    pub(crate) told: told::Told,
    /// What the environment has been asked for.
    pub(crate) asked: requests::Asked,
    /// When any fault struck, or had not ended yet.
    pub(crate) struck: Option<u64>,
    /// When something last changed that decides whether a host serves, by host.
    pub(crate) moved: BTreeMap<HostNo, u64>,
    /// How many instances scaling wanted last.
    pub(crate) scaled: Option<u32>,
}

/// A write is tried for so long at most, head's and then the record's.
const LONGEST_WRITE: u64 = 60_000;

type Rule = fn(&World, &Event) -> Result<(), String>;

/// All of them, by the numbers of the design; two of its part 3 beside them.
const RULES: [(&str, Rule); 34] = [
    ("1: never fewer in service than min_in_service because of us", capacity::minimum),
    ("1: no more instances run both releases than max_overlap", capacity::overlap),
    ("1: never the last one of a zone while another could go first", zones::last_of_its_zone),
    ("2: one deployment at a time", fences::one_at_a_time),
    (
        "2: a second one is refused with who holds it, since when and at what",
        requests::refused_with_who_holds_it,
    ),
    ("2: what was refused changes nothing", requests::the_refused_leave_no_trace),
    ("2: nothing is downloaded before a deployment has begun", requests::nothing_is_fetched_unasked),
    ("3: nothing forbidden runs or starts", releases::nothing_forbidden),
    ("3: an app and its database's schema agree", releases::schema_fits),
    ("4: nothing goes backwards", fences::nothing_goes_backwards),
    ("4: version.properties says what head said, and goes back to no older one", fences::the_mirror_follows),
    ("4: a decision is written, then sent", fences::written_then_sent),
    ("4: greeted, then ordered", fences::greeted_then_ordered),
    ("4: a lease that is renewed is not taken", fences::lease_expires_first),
    ("5: a migration runs at most once", migrations::at_most_once),
    ("5: a migration runs where nobody coordinates", migrations::not_where_somebody_coordinates),
    ("5: a migration that is skipped is on the receipt", migrations::the_skipped_is_said),
    ("6: a failed instance stops the roll", failures::a_failure_stops_the_roll),
    ("6: a second instance that vanished stops the roll", failures::the_vanished_stop_the_roll),
    ("6: only what was touched is rolled back", releases::only_touched_go_back),
    ("6: the way back is there before anybody is touched", fallback::the_way_back_is_there),
    ("6: from where to where does not change on the way", fallback::the_wish_stays),
    ("6: what is not where it should be is named", fallback::who_is_elsewhere_is_named),
    ("7: a deployment moves by legal steps only, and within its bound", fences::legal_steps),
    ("7: a record is written a few times an instance", fences::few_writes),
    ("8: a newcomer announces itself before it starts anything", releases::newcomers_announce),
    ("8: a newcomer takes what head says", releases::newcomers_take_what_head_says),
    ("8: who enters the balancer is up", service::joins_when_up),
    ("8: one that the group ended is no failure of the release", failures::the_ended_are_no_failure),
    ("9: a failure that all share rolls nothing back", service::shared_failure),
    ("9: nobody is moved for a failure that all share", shared::nobody_is_moved_for_it),
    ("9: nobody is emptied for a failure that all share", shared::nobody_is_emptied_for_it),
    ("10: the number of instances is what scaling said", scaling::wanted_is_what_scaling_said),
    ("no request fails because of us", service::no_request_fails),
];

/// Asks every rule about `event`; the first broken one is the answer.
pub(crate) fn after(world: &mut World, event: &Event) -> Result<(), Broken> {
    remember(world, event);
    for (rule, holds) in RULES {
        holds(world, event).map_err(|how| Broken { rule, how })?;
    }
    Ok(())
}

/// Asks what a coordinator shows, beside all events: it is no event of the world.
pub(crate) fn after_show(world: &mut World, by: HostNo, status: &Status) -> Result<(), Broken> {
    let rule = "9: the roll says why nothing moves";
    shared::the_roll_says_why(world, by, status).map_err(|how| Broken { rule, how })
}

fn remember(world: &mut World, event: &Event) {
    use crate::fault::Fault;
    use crate::trace::Death;
    let hurts = matches!(
        event.what,
        What::AppEnded(_, _, Death::Own | Death::HostLost)
            | What::Lost
            | What::Terminating
            | What::Fault(Fault::AppIll | Fault::GateLost)
    );
    if let Some(host) = event.host.filter(|_| hurts) {
        world.law.hurt.push((event.at, host));
    }
    if world.database.away {
        world.law.database_away = Some(event.at);
    }
    match (&event.what, event.host) {
        (What::Fault(Fault::DiskRot), Some(host)) => drop(world.law.rotten.insert(host)),
        (What::Fault(Fault::AgentPause), Some(host)) => {
            world.law.slept.insert(host, (event.at, event.at));
        }
        (What::AgentResumed, Some(host)) => {
            world.law.slept.entry(host).and_modify(|(_, until)| *until = event.at);
        }
        _ => {}
    }
    remember_what_was_said(world, event);
    if matches!(event.what, What::Fault(_) | What::Terminating | What::Lost | What::Calm)
        || world.is_troubled()
    {
        world.law.struck = Some(event.at);
    }
    if let Some(host) = event.host.filter(|_| moves(&event.what)) {
        world.law.moved.insert(host, event.at);
    }
}

fn remember_what_was_said(world: &mut World, event: &Event) {
    let law = &mut world.law;
    match (&event.what, event.host) {
        (What::Head { term, .. }, _) => {
            let Some(head) = &world.objects.head else { return };
            law.asked.head(head, event.at);
            let leads = head.lease.as_ref().and_then(|lease| world.hosts.get(&lease.holder));
            if let Some(leads) =
                leads.filter(|_| law.head_before.as_ref().map(|head| head.term) != Some(*term))
            {
                law.told.forget(leads.no);
            }
        }
        (What::Record { id, state, .. }, _) => {
            if let Ok(id) = DeploymentId::new(id.clone()) {
                law.asked.state(&id, *state, event.at);
            }
        }
        (What::AgentStarted(_), Some(host)) => law.told.forget(host),
        _ => requests::remember(&mut law.asked, event),
    }
}

/// When the coordinator `by` thought of what it has just written, by the lines that it added to the story; nothing if its
/// clock was set meanwhile, or it added none.
fn planned_at(world: &World, before: &Record, now: &Record, by: HostNo, at: u64) -> Option<u64> {
    let line = now.story.last().filter(|line| before.story.last() != Some(line))?;
    let planned = line.at.0.checked_add_signed(-world.host_no(by).clock_off)?.checked_sub(EPOCH)?;
    (planned <= at && planned + LONGEST_WRITE >= at).then_some(planned)
}

/// Whether it may change who serves.
const fn moves(what: &What) -> bool {
    matches!(
        what,
        What::Launched(_)
            | What::Joined
            | What::Left
            | What::Gate(_)
            | What::Switched(_)
            | What::AppStarted(..)
            | What::AppStopping(..)
            | What::AppEnded(..)
            | What::AgentCrashed
            | What::AgentStarted(_)
    )
}

/// The state of the deployment that runs.
fn state(world: &World) -> Option<State> {
    world.current().map(|record| record.state)
}
