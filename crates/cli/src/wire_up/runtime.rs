//! An instance's app as processes of this machine, as the settings have it.

use super::house::program;
use super::places::Places;
use everup_core::ids::{InstanceId, Zone};
use everup_host::local::ports::Block;
use everup_host::runtime::{Folders, ProcessRuntime, Setup};
use everup_host::settings::Settings;

/// The runtime of one instance.
#[must_use]
pub fn of(settings: &Settings, id: &InstanceId, zone: &Zone, block: Block) -> ProcessRuntime {
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
    ProcessRuntime::new(setup, Box::new(Folders(places.releases())))
}
