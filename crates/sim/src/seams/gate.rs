//! The gate, as its instance's agent reaches it.

use super::Place;
use crate::fault::Fault;
use crate::trace::What;
use crate::world::gate::{DrainEnd, SimGate, at};
use crate::world::releases::number;
use everup_core::gate::{Counts, Drain, Drained, Hold, Idle, NotHolding, Upstream};
use everup_core::ids::HoldId;
use everup_core::seams::{Gate, GateError};
use everup_core::time::{Millis, Mono};
use futures_util::future::{Either, select};
use std::pin::pin;

impl Place {
    /// Some calls get no answer, half of them after they did what was asked.
    async fn gate_call<T>(&self, ask: impl FnOnce(&Self) -> T) -> Result<T, GateError> {
        self.takes(0, 3).await;
        let fails = self.strikes(Fault::GateFails);
        let lost = || GateError("the gate's process does not answer".to_owned());
        if fails && self.draw(0, 1) == 0 {
            return Err(lost());
        }
        let answer = ask(self);
        self.takes(0, 3).await;
        if fails { Err(lost()) } else { Ok(answer) }
    }
}

impl Gate for Place {
    async fn hold(&self, hold: &Hold) -> Result<(), GateError> {
        let ask = |gate: &mut SimGate, now| {
            let held = gate.machine.hold(Mono(now), hold);
            gate.wait = if held.is_ok() { hold.limits.wait.0 } else { gate.wait };
            held
        };
        let held = self.gate_call(|p| at(&p.sim, &p.id, ask)).await?;
        held.map_err(|refused| GateError(refused.to_string()))
    }

    async fn idle(&self, within: Millis) -> Result<Idle, GateError> {
        self.takes(0, 3).await;
        let process = self.sim.world().host(&self.id).gate.process;
        let idle = pin!(self.sim.when_on(&self.id, |host| {
            let lost = host.gate.process != process;
            (lost || host.gate.is_idle()).then_some(lost)
        }));
        match select(idle, pin!(self.sim.sleep(within.0))).await {
            Either::Left((true, _)) => Err(GateError("the gate's process is another now".to_owned())),
            Either::Left((false, _)) => Ok(Idle::Yes),
            Either::Right(_) => Ok(Idle::No(self.sim.world().host(&self.id).gate.machine.counts().in_flight)),
        }
    }

    async fn seal(&self, id: Option<&HoldId>) -> Result<Result<(), NotHolding>, GateError> {
        self.gate_call(|p| at(&p.sim, &p.id, |gate, now| gate.machine.seal(Mono(now), id))).await
    }

    async fn drain(&self, drain: &Drain) -> Result<Drained, GateError> {
        self.takes(0, 3).await;
        let (drains, process) = {
            let mut world = self.sim.world();
            let gate = &world.host(&self.id).gate;
            (gate.drains, gate.process)
        };
        at(&self.sim, &self.id, |gate, now| {
            gate.wait = drain.limits.wait.0;
            gate.machine.drain(Mono(now), drain);
        });
        let end = self.sim.when_on(&self.id, |host| {
            let lost = host.gate.process != process;
            (lost || host.gate.drains > drains).then_some(if lost { None } else { host.gate.last_drain })
        });
        match end.await {
            Some(DrainEnd::Drained(drained)) => Ok(drained),
            Some(DrainEnd::TakenBack) => Err(GateError("the drain was taken back".to_owned())),
            None => Err(GateError("the gate's process is another now".to_owned())),
        }
    }

    async fn switch(&self, to: &Upstream) -> Result<(), GateError> {
        self.gate_call(|p| {
            at(&p.sim, &p.id, |gate, _| gate.machine.switch(to));
            let mut world = p.sim.world();
            let no = world.host(&p.id).app(&to.start).map_or(0, |app| number(&app.running.release));
            world.on(&p.id, What::Switched(no));
        })
        .await
    }

    async fn release(&self) -> Result<(), GateError> {
        let released =
            self.gate_call(|p| at(&p.sim, &p.id, |gate, now| gate.machine.release(Mono(now)))).await?;
        released.map_err(|refused| GateError(refused.to_string()))
    }

    async fn counts(&self) -> Result<Counts, GateError> {
        self.gate_call(|p| p.sim.world().host(&p.id).gate.machine.counts()).await
    }
}
