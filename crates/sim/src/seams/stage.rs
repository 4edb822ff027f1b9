//! A host's disk: releases and the journal.

use super::Place;
use crate::fault::Fault;
use crate::trace::What;
use crate::world::releases::{manifest, number};
use everup_core::instance::{Memory, Problem};
use everup_core::release::{Fetched, Manifest, ReleaseRef};
use everup_core::seams::{Journal, Stage};

impl Stage for Place {
    async fn manifest(&self, release: &ReleaseRef) -> Result<Manifest, Problem> {
        self.takes(2, 30).await;
        let world = self.sim.world();
        if world.store_away || world.cut_off.contains(&self.no) {
            return Err(Problem::new("manifest", "the store does not answer"));
        }
        Ok(manifest(world.releases.of(release)))
    }

    async fn ensure(&self, release: &ReleaseRef) -> Result<Fetched, Problem> {
        if self.sim.world().host(&self.id).disk.contains(release) {
            return Ok(Fetched { bytes: 0, of: 1 });
        }
        self.takes(20, 1_500).await;
        let mut world = self.sim.world();
        let away = world.store_away || world.cut_off.contains(&self.no);
        let now = world.now();
        let fails = away || world.host(&self.id).staging_fails_until > now;
        if fails {
            return Err(Problem::new("stage", format!("release {release} could not be fetched")));
        }
        world.host(&self.id).disk.insert(release.clone());
        world.on(&self.id, What::Staged(number(release)));
        Ok(Fetched { bytes: 1, of: 1 })
    }

    async fn verify(&self, release: &ReleaseRef) -> Result<(), Problem> {
        self.takes(1, 30).await;
        if self.sim.world().host(&self.id).disk.contains(release) {
            Ok(())
        } else {
            Err(Problem::new("verify", format!("release {release} is not complete on this disk")))
        }
    }

    async fn prune(&self, keep: &[ReleaseRef]) {
        self.takes(1, 10).await;
        let mut world = self.sim.world();
        let host = world.host(&self.id);
        let used: Vec<ReleaseRef> = host.apps.values().map(|app| app.running.release.clone()).collect();
        host.disk.retain(|release| keep.contains(release) || used.contains(release));
    }
}

impl Journal for Place {
    async fn load(&self) -> Result<Memory, Problem> {
        self.takes(0, 5).await;
        Ok(self.sim.world().host(&self.id).journal.clone().unwrap_or_default())
    }

    async fn save(&self, memory: &Memory) -> Result<(), Problem> {
        // A crash while it is saved leaves the old one or the new one.
        let early = self.draw(0, 1) == 0;
        if !early {
            self.takes(1, 8).await;
        }
        if self.journal_fails() {
            return Err(Problem::new("journal", "no space left on the disk"));
        }
        {
            let mut world = self.sim.world();
            world.law.journal_before = world.host(&self.id).journal.replace(memory.clone());
            world.on(&self.id, What::Journaled(memory.fence));
        }
        if early {
            self.takes(1, 8).await;
        }
        Ok(())
    }
}

impl Place {
    fn journal_fails(&self) -> bool {
        let now = self.sim.now();
        let failing = self.sim.world().host(&self.id).journal_fails_until > now;
        if failing {
            return true;
        }
        let struck = self.strikes(Fault::JournalFails);
        if struck {
            let lasts = self.draw(100, 4_000);
            self.sim.world().host(&self.id).journal_fails_until = now + lasts;
        }
        struck
    }
}
