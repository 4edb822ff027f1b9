//! Users: their requests are objects, each with one outcome.

use crate::rng::Rng;
use crate::trace::{Death, Failure, What};
use crate::world::gate::{Met, Told, at};
use crate::world::{Sim, World};
use everup_core::gate::Passing;
use everup_core::gate::machine::{Ticket, Why};
use everup_core::ids::{InstanceId, StartId};
use futures_channel::oneshot;

/// Requests come, at irregular times, until the world is wound up.
pub(crate) async fn come(sim: Sim) {
    let mut rng = Rng::of(sim.setting.seed, "users");
    let mut number = 0;
    loop {
        sim.sleep(rng.between(1, 2 * sim.setting.between_requests)).await;
        if sim.world().closing {
            return;
        }
        // Before the environment ever served there is nobody to fail.
        if sim.world().in_service().is_empty() && number == 0 {
            continue;
        }
        number += 1;
        sim.world().requests.begun = number;
        let takes = rng.between(1, sim.setting.longest_request);
        let draw = rng.next();
        sim.spawn(request(sim.clone(), number, takes, draw));
    }
}

async fn request(sim: Sim, number: u32, takes: u64, draw: u64) {
    let target = choose(&mut sim.world(), draw);
    let host = target.as_ref().map(|id| sim.world().hosts[id].no);
    let outcome = match target {
        Some(target) => serve(&sim, &target, takes).await,
        None => Err(Failure::NoTarget),
    };
    let mut world = sim.world();
    match outcome {
        Ok(()) => {
            world.requests.served += 1;
            world.happened(host, What::Served(number));
        }
        Err(why) => {
            world.requests.failed += 1;
            world.happened(host, What::Failed(number, why));
        }
    }
}

/// One to which the balancer sends, or, for a while, one that has left it.
fn choose(world: &mut World, draw: u64) -> Option<InstanceId> {
    let now = world.now();
    let late = |id: &InstanceId| {
        world.fleet.late.get(id).is_some_and(|until| *until > now) && draw.is_multiple_of(4)
    };
    let targets: Vec<&InstanceId> =
        world.fleet.members.iter().filter(|(id, m)| m.balanced || late(id)).map(|(id, _)| id).collect();
    let at = (draw >> 8).checked_rem(targets.len() as u64)?;
    targets.get(at as usize).map(|id| (*id).clone())
}

async fn serve(sim: &Sim, target: &InstanceId, takes: u64) -> Result<(), Failure> {
    if !sim.world().host(target).alive {
        return Err(Failure::HostLost);
    }
    let (ticket, start) = pass(sim, target).await?;
    let entered = enter(sim, target, start.as_ref());
    if entered.is_ok() {
        sim.sleep(takes).await;
    }
    let process = sim.world().host(target).gate.process;
    let whole = at(sim, target, |gate, now| gate.leave(now, ticket));
    entered?;
    let start = start.ok_or(Failure::NoApp)?;
    let mut world = sim.world();
    let host = world.host(target);
    match host.graves.get(&start).map(|(death, _)| death) {
        Some(Death::Own) => Err(Failure::AppDied),
        Some(Death::HostLost) => Err(Failure::HostLost),
        Some(Death::Stopped) if whole => Err(Failure::StoppedUnder),
        _ if !whole && host.gate.process != process => Err(Failure::GateLost),
        _ if !whole && process > 0 => Err(Failure::GateLost),
        _ if !whole => Err(Failure::Cut),
        _ => Ok(()),
    }
}

/// Goes through the gate, waiting there if it must.
async fn pass(sim: &Sim, target: &InstanceId) -> Result<(Ticket, Option<StartId>), Failure> {
    let refused = |why| match why {
        Why::Full => Failure::HoldFull,
        Why::TooLong => Failure::WaitedTooLong,
        Why::NoSlot => Failure::NoTarget,
    };
    match at(sim, target, super::world::gate::SimGate::arrive) {
        Met::Inside(ticket, start) => Ok((ticket, start)),
        Met::Refused(why) => Err(refused(why)),
        Met::Waits(ticket, told) => match wait(sim, target, told).await? {
            Ok(Told::Pass(start)) if sim.world().host(target).alive => Ok((ticket, start)),
            Ok(Told::Pass(_)) => Err(Failure::HostLost),
            Ok(Told::Refused(_)) if !sim.world().host(target).alive => Err(Failure::HostLost),
            Ok(Told::Refused(why)) => Err(refused(why)),
            Err(_) => Err(Failure::GateLost),
        },
    }
}

/// Waits at the gate; nobody is let in who has waited longer than the gate holds anybody.
async fn wait(
    sim: &Sim,
    target: &InstanceId,
    told: oneshot::Receiver<Told>,
) -> Result<Result<Told, oneshot::Canceled>, Failure> {
    let until = sim.now() + sim.world().host(target).gate.wait;
    let told = told.await;
    let is_late = matches!(told, Ok(Told::Pass(_))) && sim.now() > until;
    if is_late { Err(Failure::PassedTooLate) } else { Ok(told) }
}

/// So long after an app's death its agent, if it runs, has had its gate shut.
const KNOWN: u64 = 500;

/// Enters the app that the gate named.
fn enter(sim: &Sim, target: &InstanceId, start: Option<&StartId>) -> Result<(), Failure> {
    let world = sim.world();
    let host = &world.hosts[target];
    let start = start.ok_or(Failure::NoApp)?;
    let is_open = host.gate.passing() == Passing::Open;
    match (host.app(start), host.graves.get(start)) {
        (Some(app), _) if world.is_healthy(host, app) => Ok(()),
        (Some(app), _) if app.stopping => Err(Failure::NoApp),
        (Some(app), _) if app.is_up(world.now()) => Err(Failure::AppIll),
        (Some(_), _) => Err(Failure::NotUp),
        // A drain takes in late arrivals for a while, whatever becomes of the app.
        (None, Some((Death::Own, died))) if is_open && world.now() > died + KNOWN => Err(Failure::LongDead),
        (None, Some((Death::Own, _))) => Err(Failure::DeadApp),
        (None, Some((Death::HostLost, _))) => Err(Failure::HostLost),
        (None, _) => Err(Failure::NoApp),
    }
}
