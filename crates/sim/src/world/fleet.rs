//! The fleet's engine and its balancer: who exists, who is wanted, to whom is sent.

use super::database::Written;
use super::gate;
use super::host::{self, Host};
use super::releases::number;
use super::{Sim, World, agent, app};
use crate::fault::Fault;
use crate::setting::Setting;
use crate::trace::{Death, HostNo, What};
use everup_core::fleet::{Member, Members};
use everup_core::ids::InstanceId;
use everup_core::instance::Outcome;
use everup_core::time::Millis;
use everup_engine::mailbox::Call;
use futures_channel::oneshot;
use futures_util::future::{Either, select};
use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::pin::pin;

/// How many past lists a stale view can come from.
const PAST: usize = 50;

/// The engine's and the balancer's state.
#[derive(Debug)]
pub(crate) struct Fleet {
    pub(crate) desired: u32,
    /// The present members.
    pub(crate) members: BTreeMap<InstanceId, Member>,
    pub(crate) gone: BTreeSet<InstanceId>,
    /// Those of them that the engine ended.
    pub(crate) ended: BTreeSet<InstanceId>,
    pub(crate) protected: BTreeSet<InstanceId>,
    /// Who has left, and until when the balancer goes on sending all the same.
    pub(crate) late: BTreeMap<InstanceId, u64>,
    /// Zones in which nothing can be launched.
    pub(crate) zones_away: BTreeSet<u8>,
    /// What the list was, oldest first, with the time since when.
    pub(crate) past: VecDeque<(u64, Members)>,
    /// The most that were wanted within the last while, by time.
    pub(crate) wanted: Vec<(u64, u32)>,
    complete: bool,
    seq: u64,
    launched: HostNo,
}

impl Fleet {
    /// An empty one.
    pub(crate) fn new(setting: &Setting) -> Self {
        Self {
            desired: setting.instances,
            members: BTreeMap::new(),
            gone: BTreeSet::new(),
            ended: BTreeSet::new(),
            protected: BTreeSet::new(),
            late: BTreeMap::new(),
            zones_away: BTreeSet::new(),
            past: VecDeque::new(),
            wanted: vec![(0, setting.instances)],
            // An engine that made every id itself is no list that may be old.
            complete: setting.seed.is_multiple_of(2) && setting.rate(Fault::StaleMembers) == 0,
            seq: 0,
            launched: 0,
        }
    }

    /// The list as it is.
    pub(crate) fn list(&self) -> Members {
        Members {
            seq: self.seq,
            desired: self.desired,
            members: self.members.clone(),
            gone: self.gone.clone(),
            ended: self.ended.clone(),
            complete: self.complete,
        }
    }

    fn living(&self) -> usize {
        self.members.values().filter(|member| !member.terminating).count()
    }
}

impl World {
    /// Membership changed: the list gets a new number.
    pub(crate) fn members_changed(&mut self) {
        self.fleet.seq += 1;
        let now = self.now();
        if self.fleet.past.len() == PAST {
            self.fleet.past.pop_front();
        }
        let list = self.fleet.list();
        self.fleet.past.push_back((now, list));
        self.bell.ring();
    }

    /// Sets how many instances are wanted.
    pub(crate) fn want(&mut self, desired: u32) {
        self.fleet.desired = desired;
        let now = self.now();
        self.fleet.wanted.push((now, desired));
        self.members_changed();
    }

    /// Lets the balancer send to `id`, or not; true if that changed anything.
    pub(crate) fn balance(&mut self, id: &InstanceId, on: bool) -> bool {
        let until = self.now() + self.setting.late;
        let Some(member) = self.fleet.members.get_mut(id) else { return false };
        if std::mem::replace(&mut member.balanced, on) == on {
            return false;
        }
        if on {
            self.fleet.late.remove(id);
        } else {
            self.fleet.late.insert(id.clone(), until);
        }
        self.members_changed();
        self.on(id, if on { What::Joined } else { What::Left });
        true
    }
}

/// The group: keeps as many instances as are wanted, and replaces the lost.
pub(crate) async fn engine(sim: Sim) {
    loop {
        let (living, desired) = {
            let world = sim.world();
            (world.fleet.living(), world.fleet.desired as usize)
        };
        if living < desired {
            launch(&sim);
        } else if living > desired
            && let Some(id) = victim(&sim)
        {
            sim.spawn(terminate(sim.clone(), id));
        }
        sim.sleep(if living.abs_diff(desired) > 1 { 20 } else { 700 }).await;
    }
}

/// In the fullest zone the oldest one that is not protected.
fn victim(sim: &Sim) -> Option<InstanceId> {
    let world = sim.world();
    let free = |id: &InstanceId, member: &Member| !member.terminating && !world.fleet.protected.contains(id);
    let mut zones: BTreeMap<u8, Vec<&InstanceId>> = BTreeMap::new();
    for (id, _) in world.fleet.members.iter().filter(|(id, member)| free(id, member)) {
        zones.entry(world.hosts[id].zone).or_default().push(id);
    }
    let fullest = zones.into_values().max_by_key(Vec::len)?;
    fullest.into_iter().min_by_key(|id| world.hosts[*id].no).cloned()
}

/// A new machine in the emptiest zone that is there.
pub(crate) fn launch(sim: &Sim) {
    let mut world = sim.world();
    let open: Vec<u8> =
        (0..sim.setting.zones).filter(|zone| !world.fleet.zones_away.contains(zone)).collect();
    let fill = |zone: &u8| world.hosts.values().filter(|host| host.alive && host.zone == *zone).count();
    let Some(zone) = open.into_iter().min_by_key(fill) else { return };
    world.fleet.launched += 1;
    let no = world.fleet.launched;
    let now = world.now();
    let mut new = Host::new(&sim.setting, no, zone);
    let boots_in = if now == 0 { new.rng.between(0, 200) } else { new.rng.between(500, 8_000) };
    let id = new.id.clone();
    let address = format!("10.0.0.{no}:80");
    let member = Member { zone: new.zone(), address, balanced: false, terminating: false };
    world.hosts.insert(id.clone(), new);
    world.fleet.members.insert(id.clone(), member);
    world.happened(Some(no), What::Launched(zone));
    world.members_changed();
    drop(world);
    let sim = sim.clone();
    sim.clone().spawn(async move {
        sim.sleep(boots_in).await;
        agent::start(&sim, &id);
    });
}

/// Ends a machine in order: out of the balancer, drained, stopped, gone.
pub(crate) async fn terminate(sim: Sim, id: InstanceId) {
    {
        let mut world = sim.world();
        let Some(member) = world.fleet.members.get_mut(&id) else { return };
        member.terminating = true;
        world.on(&id, What::Terminating);
        world.members_changed();
        world.balance(&id, false);
    }
    sim.sleep(sim.setting.late + 50).await;
    let within = Millis::from_secs(15);
    let (reply, done) = oneshot::channel();
    agent::call(&sim, &id, Call::Retire { within, reply });
    let patience = pin!(sim.sleep(20_000));
    drop(select(done, patience).await);
    let idle = pin!(sim.when_on(&id, |host| host.gate.is_idle().then_some(())));
    if let Either::Right(_) = select(idle, pin!(sim.sleep(15_000))).await {}
    lose(&sim, &id, 1_000);
}

/// Nothing runs on the machine any more; false if nothing did.
fn goes_down(sim: &Sim, id: &InstanceId) -> bool {
    if !std::mem::take(&mut sim.world().host(id).alive) {
        return false;
    }
    sim.world().on(id, What::Lost);
    agent::crash(sim, id);
    let starts: Vec<_> = sim.world().host(id).apps.values().map(|app| app.start().clone()).collect();
    for start in starts {
        app::end(sim, id, &start, Death::HostLost);
    }
    sim.world().lose_runs(id);
    gate::at(sim, id, |_, _| ());
    true
}

/// It has what was on its disk, and nothing else.
fn comes_up(sim: &Sim, id: &InstanceId) {
    sim.world().host(id).alive = true;
    gate::come_back(sim, id);
    agent::start(sim, id);
}

/// The machine goes down, and is up again after `up_in`. It stays a member: the fleet has noticed nothing. One that the
/// group wanted to end meanwhile is ended then.
pub(crate) fn reboot(sim: &Sim, id: &InstanceId, up_in: u64) {
    if !goes_down(sim, id) {
        return;
    }
    let (sim, id) = (sim.clone(), id.clone());
    sim.clone().spawn(async move {
        sim.sleep(up_in).await;
        comes_up(&sim, &id);
        let stays = sim.world().fleet.members.get(&id).is_some_and(|member| !member.terminating);
        if !stays {
            lose(&sim, &id, 1_000);
        }
    });
}

/// The machine is lost with all that is on it; the fleet says so after `told_in`.
pub(crate) fn lose(sim: &Sim, id: &InstanceId, told_in: u64) {
    if !goes_down(sim, id) {
        return;
    }
    let (sim, id) = (sim.clone(), id.clone());
    sim.clone().spawn(async move {
        sim.sleep(told_in).await;
        let mut world = sim.world();
        let member = world.fleet.members.remove(&id);
        if member.is_some_and(|member| member.terminating) {
            world.fleet.ended.insert(id.clone());
        }
        world.fleet.protected.remove(&id);
        world.fleet.late.remove(&id);
        world.fleet.gone.insert(id.clone());
        world.on(&id, What::Gone);
        world.members_changed();
    });
}

/// A machine that was lost, and that the fleet has said to be gone, boots all the same, with its disk and its journal as they
/// were: whatever became of the fleet since, it must not start what head forbids. Says which.
pub(crate) fn boot_again(sim: &Sim) -> Option<InstanceId> {
    let world = sim.world();
    let lost = |host: &&Host| !host.alive && host.journal.is_some() && world.fleet.gone.contains(&host.id);
    let id = world.hosts.values().find(lost)?.id.clone();
    drop(world);
    comes_up(sim, &id);
    Some(id)
}

impl World {
    /// Migrations whose runner is lost stop where they are. Should it boot again, nobody saw how they ended.
    fn lose_runs(&mut self, id: &InstanceId) {
        let host = self.host(id);
        let no = host.no;
        let begun: Vec<_> = host.runs.keys().cloned().collect();
        for key in begun {
            if let Some(schema) = self.database.running.remove(&key) {
                *self.faults.entry(Fault::RunnerLost).or_default() += 1;
                self.happened(Some(no), What::RunEnded(schema, "its host is lost"));
                let reason = "the machine was restarted while it ran".to_owned();
                let unseen = Outcome::Unknown { reason, log: Vec::new() };
                self.host(id).runs.insert(key, Written::Ended(unseen));
            }
        }
    }

    /// The hosts that are in service in truth: the balancer sends, the gate passes, the app answers.
    pub(crate) fn in_service(&self) -> Vec<HostNo> {
        let serves = |host: &&Host| {
            self.fleet.members.get(&host.id).is_some_and(|member| member.balanced) && self.answers(host)
        };
        self.hosts.values().filter(serves).map(|host| host.no).collect()
    }

    /// Whether requests that come to `host` are answered by an app now.
    pub(crate) fn answers(&self, host: &Host) -> bool {
        use everup_core::gate::Passing::{Draining, Open};
        let up = host.gate.machine.upstream().and_then(|up| host.app(&up.start));
        host.alive
            && matches!(host.gate.passing(), Open | Draining)
            && up.is_some_and(|app| self.is_healthy(host, app))
    }

    /// The number of the release that `host` answers with.
    pub(crate) fn answers_with(&self, host: &Host) -> Option<u16> {
        let up = host.gate.machine.upstream()?;
        host.app(&up.start).map(|app| number(&app.running.release))
    }

    /// The host numbered `no`.
    pub(crate) fn host_no(&self, no: HostNo) -> &Host {
        &self.hosts[&host::name(no)]
    }
}
