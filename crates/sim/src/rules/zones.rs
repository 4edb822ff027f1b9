//! Rule 1, its second half.

use crate::trace::{Event, HostNo, What};
use crate::world::World;
use crate::world::host::Host;
use crate::world::releases::number;
use everup_core::deployment::State;
use everup_core::ids::{InstanceId, Zone};
use everup_core::order::Task;
use everup_core::policy::Strategy;
use everup_core::record::{Entry, Progress, Record};
use everup_core::release::ReleaseRef;

/// After a fault everybody's knowledge is fresh again within so long: a stalled write lands within 20 s, a list is 15 s
/// old at most, a long poll is answered within 20 s, and a lease is taken within 12 s.
const LULL: u64 = 45_000;
/// Whoever has served, or has been out of the balancer, for so long is known to.
const STEADY: u64 = 10_000;

/// Never the last one of a zone while one of another zone, which keeps another, could go first. Asked when moves are
/// granted, of the zones as they are with all that this write grants: whoever emptied its zone among them was the last
/// one of it at its turn, and whoever still keeps another then did so at that turn, too.
///
/// Only what the record and the world agree on counts: nobody is believed to serve, or to be out, who began to a
/// moment ago, and nothing is asked while a fault may still be in somebody's way.
pub(super) fn last_of_its_zone(world: &World, event: &Event) -> Result<(), String> {
    let What::Record { id, .. } = &event.what else { return Ok(()) };
    let Some(record) = world.objects.records.values().find(|record| record.id.as_str() == id) else {
        return Ok(());
    };
    let Some(target) = target(record).filter(|_| is_quiet(world, event.at)) else { return Ok(()) };
    let roll = Roll { world, record, target, now: event.at };
    for (id, entry) in &record.instances {
        if !roll.is_taken_out(id, entry) || !roll.is_empty_but_for(&entry.zone) {
            continue;
        }
        if let Some(other) = roll.could_go_first(&entry.zone) {
            return Err(format!(
                "{id} was the last one of zone {} and went before {other}, whose zone keeps another",
                entry.zone
            ));
        }
    }
    Ok(())
}

/// Where a deployment that moves batch by batch moves to now.
fn target(record: &Record) -> Option<&ReleaseRef> {
    match record.state {
        _ if record.policy.strategy != Strategy::Rolling => None,
        State::Rolling => Some(&record.to),
        State::RollingBack => record.from.as_ref(),
        _ => None,
    }
}

fn is_quiet(world: &World, now: u64) -> bool {
    let clocks = world.hosts.values().all(|host| host.clock_off == 0);
    clocks && world.law.struck.is_none_or(|at| at + LULL <= now)
}

/// A record that was just written, beside the world.
struct Roll<'a> {
    world: &'a World,
    record: &'a Record,
    target: &'a ReleaseRef,
    now: u64,
}

impl Roll<'_> {
    /// Whether this write takes it out of service, which it surely was in.
    fn is_taken_out(&self, id: &InstanceId, entry: &Entry) -> bool {
        let takes = |task: &Task| match task {
            Task::Update { release, limits } => release == self.target && !limits.overlap && !limits.spare,
            _ => false,
        };
        self.is_granted_now(entry)
            && entry.granted.as_ref().is_some_and(|grant| takes(&grant.task))
            && self.serves(id)
            && !self.runs_target(id)
    }

    fn is_granted_now(&self, entry: &Entry) -> bool {
        entry.granted.as_ref().is_some_and(|grant| grant.fence == self.record.fence())
    }

    /// Whether nobody serves in `zone` any more, without doubt.
    fn is_empty_but_for(&self, zone: &Zone) -> bool {
        let here = self.world.hosts.values().filter(|host| host.alive && host.zone() == *zone);
        here.into_iter().all(|host| self.is_out(host))
    }

    fn is_out(&self, host: &Host) -> bool {
        let Some(member) = self.world.fleet.members.get(&host.id) else { return true };
        let entry = self.record.instances.get(&host.id);
        let granted = entry.is_some_and(|entry| self.is_granted_now(entry)) && !self.runs_target(&host.id);
        let moves = entry.is_some_and(|entry| {
            matches!(entry.progress, Progress::Updating | Progress::GoingBack) && !self.world.answers(host)
        });
        let never_joined = !member.balanced && self.is_steady(host.no);
        let overlaps = entry.and_then(|entry| entry.granted.as_ref()).is_some_and(
            |grant| matches!(&grant.task, Task::Update { limits, .. } if limits.overlap || limits.spare),
        );
        !overlaps && (granted || moves || never_joined)
    }

    /// One of another zone that could have been taken in its place.
    fn could_go_first(&self, than: &Zone) -> Option<&InstanceId> {
        let waits = |(id, entry): &(&InstanceId, &Entry)| {
            let may = if self.record.state == State::Rolling {
                matches!(entry.progress, Progress::Untouched | Progress::Staged)
            } else {
                entry.touched && entry.progress == Progress::Done
            };
            may && entry.zone != *than && self.serves(id) && !self.runs_target(id)
        };
        let keeps = |(id, entry): &(&InstanceId, &Entry)| {
            let mut same = self.record.instances.iter().filter(|(other, _)| other != id);
            same.any(|(other, there)| there.zone == entry.zone && !self.moves(there) && self.serves(other))
        };
        self.record.instances.iter().filter(waits).find(keeps).map(|(id, _)| id)
    }

    fn moves(&self, entry: &Entry) -> bool {
        matches!(entry.progress, Progress::Updating | Progress::GoingBack)
    }

    /// Whether it has served for so long that the coordinator knows.
    fn serves(&self, id: &InstanceId) -> bool {
        let Some(host) = self.world.hosts.get(id) else { return false };
        let member = self.world.fleet.members.get(id);
        let stays = member.is_some_and(|member| member.balanced && !member.terminating);
        let up = host.apps.values().all(|app| app.up_at.is_some_and(|at| at + STEADY <= self.now));
        let well = host.ill_until + STEADY <= self.now;
        stays && up && well && self.is_steady(host.no) && self.world.answers(host)
    }

    fn is_steady(&self, no: HostNo) -> bool {
        self.world.law.moved.get(&no).is_none_or(|at| at + STEADY <= self.now)
    }

    fn runs_target(&self, id: &InstanceId) -> bool {
        self.world.hosts.get(id).and_then(|host| self.world.answers_with(host)) == Some(number(self.target))
    }
}
