//! An instance's app as processes of this machine, as the settings have it.

use super::house::program;
use super::places::Places;
use everup_core::ids::{InstanceId, Zone};
use everup_core::release::{Command, ReleaseRef};
use everup_host::local::ports::Block;
use everup_host::runtime::{ProcessRuntime, Releases, Setup};
use everup_host::settings::Settings;
use everup_host::stage::Pinned;
use std::collections::BTreeMap;
use std::path::PathBuf;

/// The runtime of one instance.
#[must_use]
pub(super) fn of(
    settings: &Settings,
    id: &InstanceId,
    zone: &Zone,
    block: Block,
    staged: Pinned,
) -> ProcessRuntime {
    let places = Places::of(settings);
    let setup = Setup {
        minder: vec![program().into(), "minder".into()],
        folder: places.instance(id),
        instance: id.clone(),
        zone: zone.clone(),
        environment: settings.environment.clone(),
        ports: [block.app_a().port(), block.app_b().port()],
        app: settings.app.clone(),
        health: settings.health.clone(),
        log: settings.log.clone(),
    };
    ProcessRuntime::new(setup, Box::new(OnDisk(staged)))
}

/// Releases as they are staged on this machine; one that says how it is started is started so.
struct OnDisk(Pinned);

impl Releases for OnDisk {
    fn folder(&self, release: &ReleaseRef) -> PathBuf {
        self.0.folder(release)
    }

    fn command(&self, release: &ReleaseRef) -> Option<Command> {
        self.0.start(release)
    }

    fn env(&self, release: &ReleaseRef) -> BTreeMap<String, String> {
        let folder = self.0.configuration(release);
        folder.map(|folder| ("EVERUP_CONFIG".to_owned(), folder.display().to_string())).into_iter().collect()
    }
}
