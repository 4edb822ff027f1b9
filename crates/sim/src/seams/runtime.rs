//! The processes of a host: apps and migrations.

use super::Place;
use crate::fault::Fault;
use crate::trace::{Death, What};
use crate::world::Sim;
use crate::world::app::{self, App};
use crate::world::database::{Written, key};
use crate::world::releases::{Conduct, Ending, number, version};
use everup_core::ids::{InstanceId, StartId};
use everup_core::instance::{Exit, Found, Health, Outcome, Problem, Run, Running, Slot};
use everup_core::release::ReleaseRef;
use everup_core::seams::Runtime;
use everup_core::time::Millis;

fn exit(how: &str) -> Exit {
    Exit { how: how.to_owned(), log: Vec::new(), killed: Vec::new() }
}

impl Place {
    /// An app that was told to stop, and has not.
    fn stopping(&self) -> Option<Running> {
        let world = self.sim.world();
        world.hosts[&self.id].apps.values().find(|app| app.stopping).map(|app| app.running.clone())
    }

    fn make_app(&self, release: &ReleaseRef, slot: Slot, start: &StartId) -> Result<App, Problem> {
        let longest = self.longest_start();
        let mut world = self.sim.world();
        let (now, known) = (world.now(), world.releases.of(release).clone());
        let host = world.host(&self.id);
        if !host.disk.contains(release) {
            return Err(Problem::new("start", format!("release {release} is not on this disk")));
        }
        if host.apps.contains_key(&slot) {
            return Err(Problem::new("start", "the port is taken".to_owned()));
        }
        let bad = known.conduct != Conduct::Good;
        let app = app::make(host, now, &known, release, slot, start, longest);
        host.apps.insert(slot, app.clone());
        if bad {
            *world.faults.entry(Fault::BadRelease).or_default() += 1;
        }
        world.on(&self.id, What::AppStarted(known.no, start.to_string()));
        Ok(app)
    }

    fn longest_start(&self) -> u64 {
        if self.strikes(Fault::SlowStart) { 90_000 } else { self.sim.setting.longest_start }
    }

    /// Begins the run, unless it was begun or barred before.
    fn begin(&self, run: &Run) {
        let mut world = self.sim.world();
        if world.host(&self.id).runs.contains_key(&key(run)) {
            return;
        }
        let release = world.releases.of(&run.release);
        let (schema, (lasts, ending)) = (release.schema, release.migration.unwrap_or((0, Ending::Applied)));
        let ending = release.undo.filter(|_| run.undo).unwrap_or(ending);
        world.host(&self.id).runs.insert(key(run), Written::Begun);
        world.database.running.insert(key(run), schema);
        *world.database.begun.entry((run.migration.clone(), run.undo)).or_default() += 1;
        world.on(&self.id, What::RunBegan(schema, run.attempt, run.undo));
        // What an attempt did before is not done again by the next: a second one succeeds.
        let ending = if run.attempt > 1 { Ending::Applied } else { ending };
        let (sim, id, run) = (self.sim.clone(), self.id.clone(), run.clone());
        drop(world);
        self.sim.spawn(async move {
            sim.sleep(lasts).await;
            finish(&sim, &id, &run, schema, ending);
        });
    }
}

/// The migration's command ends, unless its host was lost before.
fn finish(sim: &Sim, id: &InstanceId, run: &Run, schema: u16, ending: Ending) {
    let mut world = sim.world();
    if world.database.running.remove(&key(run)).is_none() {
        return;
    }
    let (applied, how, outcome) = match ending {
        Ending::Applied => (true, "exit 0", Outcome::Exited { code: 0, log: Vec::new() }),
        Ending::Failed => (false, "exit 1", Outcome::Exited { code: 1, log: vec!["it failed".to_owned()] }),
        Ending::Killed { applied } => {
            let reason = "killed by signal 9".to_owned();
            (applied, "signal 9", Outcome::Unknown { reason, log: Vec::new() })
        }
    };
    if ending != Ending::Applied {
        *world.faults.entry(Fault::BadMigration).or_default() += 1;
    }
    let change = (run.migration.clone(), run.undo);
    if applied {
        world.database.change(schema, change);
    } else if ending == Ending::Failed {
        *world.database.failed_clean.entry(change).or_default() += 1;
    }
    let host = world.host(id);
    host.runs.insert(key(run), Written::Ended(outcome));
    host.bell.ring();
    world.on(id, What::RunEnded(schema, how));
}

impl Runtime for Place {
    async fn start(&self, release: &ReleaseRef, slot: Slot, start: &StartId) -> Result<Running, Problem> {
        self.takes(1, 10).await;
        let app = self.make_app(release, slot, start)?;
        app::live(&self.sim, &self.id, &app);
        self.takes(1, 20).await;
        Ok(app.running)
    }

    async fn stop(&self, running: &Running, deadline: Millis) -> Exit {
        app::terminate(&self.sim, &self.id, &running.upstream.start, deadline.0);
        self.exited(running).await
    }

    async fn adopt(&self) -> Found {
        self.takes(1, 30).await;
        while let Some(running) = self.stopping() {
            self.exited(&running).await;
        }
        let mut world = self.sim.world();
        Found { apps: world.host(&self.id).apps.values().map(|app| app.running.clone()).collect() }
    }

    async fn check(&self, running: &Running) -> Result<Health, Problem> {
        self.takes(1, 20).await;
        let world = self.sim.world();
        let host = &world.hosts[&self.id];
        let Some(app) = host.app(&running.upstream.start) else {
            return Err(Problem::new("health check", "connection refused"));
        };
        if !world.is_healthy(host, app) {
            return Err(Problem::new("health check", "it answered 503"));
        }
        let lies = app.conduct == Conduct::Lies;
        let says = version(if lies { 9_999 } else { number(&app.running.release) });
        Ok(Health { version: Some(says), address: None, log: Vec::new() })
    }

    async fn room_beside(&self, _: &Running) -> Result<(), String> {
        self.takes(0, 2).await;
        if self.sim.world().host(&self.id).cramped {
            return Err("it has no room for a second app".to_owned());
        }
        Ok(())
    }

    async fn exited(&self, running: &Running) -> Exit {
        let start = &running.upstream.start;
        self.sim.when_on(&self.id, |host| host.app(start).is_none().then_some(())).await;
        let own =
            self.sim.world().host(&self.id).graves.get(start).is_some_and(|(death, _)| *death == Death::Own);
        exit(if own { "exit status 1" } else { "signal 15 (TERM)" })
    }

    async fn run_once(&self, run: &Run) -> Outcome {
        self.takes(1, 20).await;
        self.begin(run);
        let ended = |host: &mut crate::world::host::Host| match host.runs.get(&key(run)) {
            Some(Written::Ended(outcome)) => Some(outcome.clone()),
            Some(Written::Barred) | None => Some(Outcome::never_began("it was settled before")),
            Some(Written::Begun) => None,
        };
        self.sim.when_on(&self.id, ended).await
    }

    async fn settle(&self, run: &Run) -> Option<Outcome> {
        self.takes(1, 20).await;
        let mut world = self.sim.world();
        match world.host(&self.id).runs.entry(key(run)).or_insert(Written::Barred) {
            Written::Barred => Some(Outcome::never_began("it was settled before")),
            Written::Begun => None,
            Written::Ended(outcome) => Some(outcome.clone()),
        }
    }
}
