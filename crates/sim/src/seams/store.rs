//! The store, as one host reaches it: slow, deaf, lying, but linearizable.

use super::{PATIENCE, Place};
use crate::chaos;
use crate::fault::Fault;
use crate::moment::Moment;
use crate::rng::Rng;
use crate::world::World;
use everup_core::seams::{Etag, Got, Store, StoreError, Wrote};
use futures_channel::oneshot;
use futures_util::future::{Either, select};
use std::pin::pin;

/// What becomes of one call.
struct Fate {
    /// Until it takes effect.
    before: u64,
    /// From then until its answer.
    after: u64,
    /// It never takes effect.
    fails: bool,
    /// Its answer is an error although it took effect.
    lies: bool,
    /// A client library tried again after its own success.
    twice: bool,
}

impl Place {
    fn fate(&self, write: bool) -> Fate {
        let stalls = self.strikes(Fault::StoreStalls);
        let long = self.draw(PATIENCE.0, 20_000);
        let (before, after) = (self.draw(1, 15), self.draw(1, 15));
        Fate {
            before: if stalls { long } else { before },
            after,
            fails: self.strikes(Fault::StoreFails),
            lies: write && self.strikes(Fault::StoreLies),
            twice: write && self.strikes(Fault::StoreLostOwn),
        }
    }

    /// Where the world is about that, its agent falls asleep here.
    async fn may_nap(&self, key: &str) {
        let mirror = key.ends_with("/version.properties") && !self.sim.world().calm;
        let mut rng = Rng::of(self.sim.setting.seed, &format!("i{} naps at {}", self.no, self.sim.now()));
        if mirror && rng.chance(self.sim.setting.naps) {
            let (sim, id) = (self.sim.clone(), self.id.clone());
            self.sim.spawn(async move { chaos::pause(&sim, &id, &mut rng).await });
            self.sim.sleep(1).await;
        }
    }

    /// Sends `act` to the store. It takes effect even if the caller is gone by then.
    async fn ask<T: 'static>(
        &self,
        wanted: String,
        write: bool,
        act: impl Fn(&mut World) -> T + 'static,
    ) -> Result<T, StoreError> {
        let fate = self.fate(write);
        let (answer, answered) = oneshot::channel();
        let (sim, no) = (self.sim.clone(), self.no);
        self.sim.spawn(async move {
            sim.sleep(fate.before).await;
            let away = sim.world().store_away || sim.world().cut_off.contains(&no);
            if fate.fails || away {
                // The client gives up by itself when nobody answers; a failure is told at once.
                sim.sleep(if away { PATIENCE.0 } else { fate.after }).await;
                return;
            }
            if write && answer.is_canceled() {
                sim.world().moments.note(Moment::WriteCameLate);
            }
            let mut got = act(&mut sim.world());
            if fate.twice {
                got = act(&mut sim.world());
            }
            sim.sleep(fate.after).await;
            if !fate.lies {
                drop(answer.send(got));
            }
        });
        let error = |happened: &str| StoreError { wanted: wanted.clone(), happened: happened.to_owned() };
        let patience = pin!(self.sim.sleep(PATIENCE.0));
        match select(answered, patience).await {
            Either::Left((Ok(got), _)) => Ok(got),
            Either::Left((Err(_), _)) => Err(error("the answer was an error")),
            Either::Right(_) => Err(error("no answer in time")),
        }
    }
}

impl Store for Place {
    async fn get(&self, key: &str, unless: Option<&Etag>) -> Result<Got, StoreError> {
        self.may_nap(key).await;
        let (key, unless) = (key.to_owned(), unless.cloned());
        self.ask(format!("read {key}"), false, move |world| world.objects.get(&key, unless.as_ref())).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let prefix = prefix.to_owned();
        self.ask(format!("list {prefix}"), false, move |world| world.objects.list(&prefix)).await
    }

    async fn create(&self, key: &str, body: Vec<u8>) -> Result<Wrote, StoreError> {
        let (key, no) = (key.to_owned(), self.no);
        self.ask(format!("create {key}"), true, move |world| world.put(Some(no), &key, None, &body)).await
    }

    async fn replace(&self, key: &str, etag: &Etag, body: Vec<u8>) -> Result<Wrote, StoreError> {
        let (key, etag, no) = (key.to_owned(), etag.clone(), self.no);
        let write = move |world: &mut World| world.put(Some(no), &key, Some(&etag), &body);
        self.ask("replace an object".to_owned(), true, write).await
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::executor::Step;
    use crate::setting::Setting;
    use crate::world::{Sim, fleet};
    use std::cell::Cell;
    use std::rc::Rc;

    #[test]
    fn it_keeps_the_contract_of_every_store() {
        let mut setting = Setting::draw(1);
        setting.faults.clear();
        let sim = Sim::new(setting);
        fleet::launch(&sim);
        let place = Place::new(&sim, sim.world().hosts.values().next().expect("it was launched"), 1);
        let done = Rc::new(Cell::new(false));
        let end = done.clone();
        sim.spawn(async move {
            crate::conformance::all(&*place, "suite/").await;
            end.set(true);
        });
        while !done.get() {
            assert!(!matches!(sim.executor.step(), Step::Over), "the suite waits for ever");
        }
    }
}
