//! What the keeper does next: a pure function of what it knows and of the time.
//!
//! Laws: an agent's death is not its instance's death (it comes back under the same name and finds its app), unless
//! it dies at once again and again; an instance ends because somebody said so, gracefully, and is gone only when
//! nothing of it runs; scaling in takes the newest of the fullest zone, never a protected one.

use super::ledger::{Ledger, Seat, Who};
use super::retry::Retries;
use everup_core::ids::{InstanceId, Zone};
use everup_core::time::Mono;
use std::collections::{BTreeMap, BTreeSet};

/// One thing to do.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Step {
    /// Start a process that should run.
    Launch(Who),
    /// Make a new instance in this zone.
    Add(Zone),
    /// Tell an instance to end.
    End(InstanceId),
    /// Its agent dies at once, whatever is tried.
    GiveUp(InstanceId),
    /// It had its time to end by itself.
    Kill(Who),
    /// Its agent has ended: end whatever else of it runs, then forget it.
    Sweep(InstanceId),
    /// Ask the balancer to end: no instance is left, and everything is to end.
    Close,
    /// Nothing is left.
    Finish,
}

/// What the keeper sees now, beside its ledger.
#[derive(Debug, Default)]
pub(super) struct Present {
    pub(super) running: BTreeSet<Who>,
    pub(super) sweeping: BTreeSet<InstanceId>,
    /// Until when a terminating instance may end by itself.
    pub(super) deadlines: BTreeMap<InstanceId, Mono>,
    pub(super) retries: Retries,
    /// Once the balancer was asked to end: until when it may.
    pub(super) closing_until: Option<Mono>,
}

/// What is wanted of the fleet.
#[derive(Debug, Clone)]
pub(super) struct Wanted {
    pub(super) desired: u32,
    pub(super) zones: Vec<Zone>,
    /// Whether each instance has a proxy of its own.
    pub(super) proxies: bool,
}

/// What to do now, and when to look again if nothing happens before.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Plan {
    pub(super) steps: Vec<Step>,
    pub(super) wake: Option<Mono>,
}

/// Decides.
pub(super) fn plan(ledger: &Ledger, present: &Present, wanted: &Wanted, now: Mono) -> Plan {
    let mut plan = Plan::default();
    balancer(&mut plan, ledger, present, now);
    for (id, seat) in &ledger.seats {
        if seat.terminating {
            ending(&mut plan, id, present, now);
        } else if !ledger.closing {
            staying(&mut plan, id, present, wanted, now);
        }
    }
    count(&mut plan, ledger, present, wanted, now);
    plan
}

fn balancer(plan: &mut Plan, ledger: &Ledger, present: &Present, now: Mono) {
    let runs = present.running.contains(&Who::Balancer);
    match (ledger.closing && ledger.seats.is_empty(), runs, present.closing_until) {
        (true, true, None) => plan.steps.push(Step::Close),
        (true, true, Some(until)) if now >= until => plan.steps.push(Step::Kill(Who::Balancer)),
        (true, true, Some(until)) => plan.wake_at(until),
        (true, false, _) => plan.steps.push(Step::Finish),
        (false, false, _) => plan.launch(Who::Balancer, present, now),
        (false, true, _) => {}
    }
}

fn staying(plan: &mut Plan, id: &InstanceId, present: &Present, wanted: &Wanted, now: Mono) {
    if present.retries.hopeless(id) {
        plan.steps.push(Step::GiveUp(id.clone()));
        return;
    }
    let proxy = wanted.proxies.then(|| Who::Proxy(id.clone()));
    for who in proxy.into_iter().chain([Who::Agent(id.clone())]) {
        if !present.running.contains(&who) {
            plan.launch(who, present, now);
        }
    }
}

fn ending(plan: &mut Plan, id: &InstanceId, present: &Present, now: Mono) {
    let agent = Who::Agent(id.clone());
    let deadline = present.deadlines.get(id).copied().unwrap_or(now);
    if !present.running.contains(&agent) {
        if !present.sweeping.contains(id) {
            plan.steps.push(Step::Sweep(id.clone()));
        }
    } else if now >= deadline {
        plan.steps.push(Step::Kill(agent));
    } else {
        plan.wake_at(deadline);
    }
}

fn count(plan: &mut Plan, ledger: &Ledger, present: &Present, wanted: &Wanted, now: Mono) {
    let mut zones: BTreeMap<&Zone, u32> = wanted.zones.iter().map(|zone| (zone, 0)).collect();
    let mut leaving = BTreeSet::new();
    for (_, seat) in ledger.staying() {
        *zones.entry(&seat.zone).or_default() += 1;
    }
    let desired = if ledger.closing { 0 } else { wanted.desired };
    let mut present_now = zones.values().sum::<u32>();
    while present_now < desired {
        let due = present.retries.newcomer_not_before();
        if due > now {
            plan.wake_at(due);
            return;
        }
        let emptiest = wanted.zones.iter().min_by_key(|zone| zones[zone]).expect("there is a zone");
        *zones.entry(emptiest).or_default() += 1;
        plan.steps.push(Step::Add(emptiest.clone()));
        present_now += 1;
    }
    while present_now > desired {
        let Some((id, seat)) = surplus(ledger, &zones, &leaving) else { return };
        *zones.entry(&seat.zone).or_default() -= 1;
        leaving.insert(id);
        plan.steps.push(Step::End(id.clone()));
        present_now -= 1;
    }
}

/// The newest instance of the fullest zone that has one to give. When everything ends, protection does not count:
/// whoever asked for that was told.
fn surplus<'a>(
    ledger: &'a Ledger,
    zones: &BTreeMap<&Zone, u32>,
    leaving: &BTreeSet<&InstanceId>,
) -> Option<(&'a InstanceId, &'a Seat)> {
    let free = |seat: &Seat| ledger.closing || !seat.protected;
    let candidates = ledger.staying().filter(|(id, seat)| free(seat) && !leaving.contains(id));
    candidates.max_by_key(|(_, seat)| (zones[&seat.zone], seat.number))
}

impl Plan {
    fn launch(&mut self, who: Who, present: &Present, now: Mono) {
        let due = present.retries.not_before(&who);
        if due <= now { self.steps.push(Step::Launch(who)) } else { self.wake_at(due) }
    }

    fn wake_at(&mut self, at: Mono) {
        self.wake = Some(self.wake.map_or(at, |wake| wake.min(at)));
    }
}

#[cfg(test)]
mod tests {
    use super::super::ports::Block;
    use super::super::retry::HOPELESS;
    use super::*;
    use everup_core::time::Millis;

    const NOW: Mono = Mono(1_000);

    fn zone(name: &str) -> Zone {
        Zone::new(name).unwrap()
    }

    fn id(name: &str) -> InstanceId {
        InstanceId::new(name).unwrap()
    }

    fn wanted(desired: u32) -> Wanted {
        Wanted { desired, zones: vec![zone("a"), zone("b")], proxies: false }
    }

    /// A fleet in these zones, everything of it running.
    fn fleet(zones: &[&str]) -> (Ledger, Present) {
        let (mut ledger, mut present) = (Ledger::default(), Present::default());
        present.running.insert(Who::Balancer);
        for name in zones {
            let id = ledger.add(zone(name), Block(20_000));
            present.running.insert(Who::Agent(id));
        }
        (ledger, present)
    }

    fn steps(ledger: &Ledger, present: &Present, desired: u32) -> Vec<Step> {
        plan(ledger, present, &wanted(desired), NOW).steps
    }

    #[test]
    fn a_new_fleet_gets_its_balancer_and_instances_zone_by_zone() {
        let (ledger, present) = (Ledger::default(), Present::default());
        let add = |name| Step::Add(zone(name));
        let all = vec![Step::Launch(Who::Balancer), add("a"), add("b"), add("a")];
        assert_eq!(steps(&ledger, &present, 3), all);
    }

    #[test]
    fn a_dead_agent_comes_back_under_its_name() {
        let (ledger, mut present) = fleet(&["a", "b"]);
        present.running.remove(&Who::Agent(id("i1")));
        assert_eq!(steps(&ledger, &present, 2), [Step::Launch(Who::Agent(id("i1")))]);
    }

    #[test]
    fn one_that_dies_at_once_is_waited_for_and_at_last_given_up() {
        let (ledger, mut present) = fleet(&["a"]);
        let agent = Who::Agent(id("i1"));
        present.running.remove(&agent);
        for _ in 0..2 {
            present.retries.started(&agent, NOW);
            present.retries.ended(&agent, NOW);
        }
        let waits = plan(&ledger, &present, &wanted(1), NOW);
        assert_eq!(waits, Plan { steps: vec![], wake: Some(NOW + Millis(250)) });
        for _ in 2..HOPELESS {
            present.retries.started(&agent, NOW);
            present.retries.ended(&agent, NOW);
        }
        assert_eq!(steps(&ledger, &present, 1), [Step::GiveUp(id("i1"))]);
    }

    #[test]
    fn scaling_in_takes_the_newest_of_the_fullest_zone_that_is_not_protected() {
        let (mut ledger, present) = fleet(&["a", "b", "a", "b", "a"]);
        assert_eq!(steps(&ledger, &present, 4), [Step::End(id("i5"))]);
        ledger.seats.get_mut(&id("i5")).unwrap().protected = true;
        assert_eq!(steps(&ledger, &present, 4), [Step::End(id("i3"))]);
        assert_eq!(
            steps(&ledger, &present, 2),
            [Step::End(id("i3")), Step::End(id("i4")), Step::End(id("i1"))]
        );
        ledger.seats.values_mut().for_each(|seat| seat.protected = true);
        assert_eq!(steps(&ledger, &present, 1), []);
    }

    #[test]
    fn an_instance_that_ends_has_its_time_then_is_killed_and_swept_once() {
        let (mut ledger, mut present) = fleet(&["a", "b"]);
        ledger.end(&id("i2"));
        present.deadlines.insert(id("i2"), NOW + Millis(5));
        assert_eq!(
            plan(&ledger, &present, &wanted(1), NOW),
            Plan { steps: vec![], wake: Some(NOW + Millis(5)) }
        );
        let late = plan(&ledger, &present, &wanted(1), NOW + Millis(5));
        assert_eq!(late.steps, [Step::Kill(Who::Agent(id("i2")))]);
        present.running.remove(&Who::Agent(id("i2")));
        assert_eq!(steps(&ledger, &present, 1), [Step::Sweep(id("i2"))]);
        present.sweeping.insert(id("i2"));
        assert_eq!(steps(&ledger, &present, 1), []);
    }

    #[test]
    fn everything_ends_instances_first_the_balancer_last() {
        let (mut ledger, mut present) = fleet(&["a", "b"]);
        ledger.closing = true;
        ledger.seats.get_mut(&id("i1")).unwrap().protected = true;
        assert_eq!(steps(&ledger, &present, 2), [Step::End(id("i2")), Step::End(id("i1"))]);
        ledger.seats.clear();
        assert_eq!(steps(&ledger, &present, 2), [Step::Close]);
        present.closing_until = Some(NOW + Millis(1));
        assert_eq!(steps(&ledger, &present, 2), []);
        present.closing_until = Some(NOW);
        assert_eq!(steps(&ledger, &present, 2), [Step::Kill(Who::Balancer)]);
        present.running.clear();
        assert_eq!(steps(&ledger, &present, 2), [Step::Finish]);
    }
}
