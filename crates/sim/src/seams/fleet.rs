//! The fleet's engine and its balancer, as one host reaches them.

use super::Place;
use crate::fault::Fault;
use crate::moment::{Moment, leader};
use crate::trace::What;
use everup_core::deployment::State;
use everup_core::fleet::Members;
use everup_core::seams::{Fleet, FleetError};
use futures_util::future::select;
use std::pin::pin;

/// A long poll is answered after so long at the latest.
const POLL: u64 = 20_000;

impl Place {
    /// Some calls fail, half of them after they did what was asked.
    async fn fleet_call(&self, act: impl FnOnce(&Self)) -> Result<(), FleetError> {
        self.takes(2, 40).await;
        let fails = self.strikes(Fault::FleetFails);
        if !fails || self.draw(0, 1) == 0 {
            act(self);
        }
        self.takes(1, 20).await;
        if fails { Err(FleetError("the fleet's engine answered with an error".to_owned())) } else { Ok(()) }
    }

    fn note_a_stale_list(&self, old: &Members) {
        let mut world = self.sim.world();
        let rolls = world.current().is_some_and(|record| record.state == State::Rolling);
        if rolls && leader(&world) == Some(self.no) && old.members != world.fleet.members {
            world.moments.note(Moment::StaleListInARoll);
        }
    }

    /// Notes what its agent knows from now on.
    fn listed(&self, members: Members) -> Members {
        let mut world = self.sim.world();
        let now = world.now();
        world.law.told.list(self.no, &members, now);
        members
    }
}

impl Fleet for Place {
    async fn members(&self, since: u64) -> Result<Members, FleetError> {
        self.takes(1, 20).await;
        if self.strikes(Fault::FleetFails) {
            return Err(FleetError("the fleet's engine answered with an error".to_owned()));
        }
        if self.strikes(Fault::StaleMembers) {
            let age = self.draw(100, 15_000);
            let world = self.sim.world();
            let then = world.now().saturating_sub(age);
            let old = world.fleet.past.iter().rev().find(|(at, _)| *at <= then).map(|(_, old)| old.clone());
            drop(world);
            if let Some(old) = old {
                self.note_a_stale_list(&old);
                return Ok(self.listed(old));
            }
        }
        let changed = pin!(self.sim.when(|world| (world.fleet.list().seq != since).then_some(())));
        let _ = select(changed, pin!(self.sim.sleep(POLL))).await;
        self.takes(1, 10).await;
        let list = self.sim.world().fleet.list();
        Ok(self.listed(list))
    }

    async fn leave(&self) -> Result<(), FleetError> {
        self.fleet_call(|place| {
            place.sim.world().balance(&place.id, false);
        })
        .await
    }

    async fn join(&self) -> Result<(), FleetError> {
        self.fleet_call(|place| {
            let mut world = place.sim.world();
            let may = world.fleet.members.get(&place.id).is_some_and(|member| !member.terminating);
            if may {
                world.balance(&place.id, true);
            }
        })
        .await
    }

    async fn protect(&self, on: bool) -> Result<(), FleetError> {
        self.fleet_call(|place| {
            let mut world = place.sim.world();
            let changed = if on {
                world.fleet.protected.insert(place.id.clone())
            } else {
                world.fleet.protected.remove(&place.id)
            };
            if changed {
                world.on(&place.id, What::Protected(on));
            }
        })
        .await
    }
}
