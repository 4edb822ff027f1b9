//! An app: a process of a release on a host.

use super::Sim;
use super::host::Host;
use super::releases::{Conduct, Release, number};
use crate::fault::Fault;
use crate::trace::{Death, What};
use everup_core::gate::Upstream;
use everup_core::ids::{InstanceId, StartId};
use everup_core::instance::{Running, Slot};
use everup_core::release::ReleaseRef;
use std::net::{Ipv4Addr, SocketAddr};

/// A process.
#[derive(Debug, Clone)]
pub(crate) struct App {
    pub(crate) running: Running,
    pub(crate) conduct: Conduct,
    /// When it can answer; never, for some.
    pub(crate) up_at: Option<u64>,
    /// Whether it was told to stop.
    pub(crate) stopping: bool,
    /// How long it takes from TERM to its end.
    pub(crate) stops_in: u64,
}

impl App {
    /// Whether it answers at `now`, as far as it is up to itself.
    pub(crate) fn is_up(&self, now: u64) -> bool {
        self.up_at.is_some_and(|at| at <= now) && !self.stopping
    }

    /// The start that it is.
    pub(crate) fn start(&self) -> &StartId {
        &self.running.upstream.start
    }

    /// Its release's number.
    pub(crate) fn no(&self) -> u16 {
        number(&self.running.release)
    }
}

/// Makes a process of `release`.
pub(crate) fn make(
    host: &mut Host,
    now: u64,
    release: &Release,
    pinned: &ReleaseRef,
    slot: Slot,
    start: &StartId,
    longest: u64,
) -> App {
    let port = 1_024 + host.no * 8 + if slot == Slot::A { 1 } else { 2 };
    let address = SocketAddr::from((Ipv4Addr::LOCALHOST, port));
    let upstream = Upstream { address, start: start.clone() };
    let takes = host.rng.between(20, longest.max(20));
    App {
        running: Running { slot, release: pinned.clone(), upstream },
        conduct: release.conduct,
        up_at: (release.conduct != Conduct::NeverHealthy).then_some(now + takes),
        stopping: false,
        stops_in: host.rng.between(5, 400),
    }
}

/// Lets a fresh process live its own life: some end by themselves.
pub(crate) fn live(sim: &Sim, host: &InstanceId, app: &App) {
    let delay = match app.conduct {
        Conduct::ExitsAtOnce => 5,
        Conduct::DiesAfter(span) => app.up_at.unwrap_or(0).saturating_sub(sim.now()) + span,
        _ => return,
    };
    let (sim, host, start) = (sim.clone(), host.clone(), app.start().clone());
    sim.clone().spawn(async move {
        sim.sleep(delay).await;
        end(&sim, &host, &start, Death::Own);
    });
}

/// Ends the process, if it still is there.
pub(crate) fn end(sim: &Sim, host: &InstanceId, start: &StartId, death: Death) {
    let mut world = sim.world();
    let now = world.now();
    let place = world.host(host);
    let Some((slot, no)) =
        place.apps.iter().find(|(_, app)| app.start() == start).map(|(slot, app)| (*slot, app.no()))
    else {
        return;
    };
    place.apps.remove(&slot);
    place.graves.insert(start.clone(), (death, now));
    place.bell.ring();
    world.on(host, What::AppEnded(no, start.to_string(), death));
}

/// TERM: it ends after its own time, or, if it hangs, by its minder's KILL at the deadline; also when whoever told the
/// minder so does not wait for it. Told again, the minder only brings the deadline forward.
pub(crate) fn terminate(sim: &Sim, host: &InstanceId, start: &StartId, deadline: u64) {
    end_in(sim, host, start, deadline);
    let mut world = sim.world();
    let slow = world.setting.rate(Fault::SlowStop);
    let calm = world.calm;
    let place = world.host(host);
    let no = place.no;
    let hangs = !calm && place.rng.chance(slow);
    let Some(app) = place.apps.values_mut().find(|app| app.start() == start && !app.stopping) else { return };
    app.stopping = true;
    let (version, stops_in) = (app.no(), app.stops_in);
    world.happened(Some(no), What::AppStopping(version, start.to_string()));
    if hangs {
        return world.inject(Some(no), Fault::SlowStop);
    }
    drop(world);
    end_in(sim, host, start, stops_in);
}

fn end_in(sim: &Sim, host: &InstanceId, start: &StartId, span: u64) {
    let (sim, host, start) = (sim.clone(), host.clone(), start.clone());
    sim.clone().spawn(async move {
        sim.sleep(span).await;
        end(&sim, &host, &start, Death::Stopped);
    });
}
