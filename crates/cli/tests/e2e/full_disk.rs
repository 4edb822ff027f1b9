//! A disk without a byte left, for the logs too: users notice nothing, everybody whose work is to go on goes on, and what
//! had to wait is done when there is room again.

use crate::harness::{Disk, Fleet, Program, Setup, Shop, until};
use std::process::Stdio;

/// So many requests are inside one app at once.
const INSIDE: u64 = 5;

fn fleet() -> Fleet {
    let setup = Setup { instances: 3, ..Setup::default() };
    Shop::serving(&setup, &Program::python(), &Program::python())
}

/// The keeper has to say that it cannot save, a new agent that it cannot write, and each proxy that it cannot count.
#[test]
fn nobody_fails_or_ends() {
    let Some(disk) = Disk::small("full_disk::nobody_fails_or_ends") else { return };
    let mut fleet = fleet();
    let users = fleet.users();
    let (apps, victim) = (fleet.apps(), fleet.seats().into_keys().next().unwrap());
    let killed = fleet.agent(&victim);
    let full = disk.fill(&fleet);
    fleet.kill_agent(&victim);
    let mut scale = fleet.command(&["scale", "4"]);
    let mut scale = scale.stdout(Stdio::null()).stderr(Stdio::null()).spawn().unwrap();
    until("the keeper to be asked", || {
        fleet.is_kept();
        fleet.desired().filter(|desired| *desired == 4)
    });
    // The counts are written once a second at least.
    (0..5).for_each(|_| users.more());
    assert_eq!((users.failed(), scale.try_wait().unwrap()), (0, None), "{:?}", users.reasons());
    fleet.is_kept();
    drop(full);
    assert!(scale.wait().unwrap().success());
    fleet.all_serve(4, "1");
    assert_ne!(fleet.agent(&victim), killed);
    assert!(apps.iter().all(|(id, app)| fleet.apps()[id] == *app), "an app was started anew");
    fleet.deploy(&["2"]).succeeded_somehow();
    users.all_served();
    fleet.all_serve(4, "2");
    fleet.is_kept();
}

/// Its end is written in the room that was set aside; the next start has to wait for room.
#[test]
fn an_app_dies_meanwhile() {
    let Some(disk) = Disk::small("full_disk::an_app_dies_meanwhile") else { return };
    let mut fleet = fleet();
    let users = fleet.users();
    let victim = fleet.seats().into_keys().next_back().unwrap();
    let before = fleet.apps()[&victim];
    let full = disk.fill(&fleet);
    fleet.kill_app(&victim);
    until("the app's end", || fleet.minders(&victim).is_empty().then_some(()));
    // What had been set aside is free now.
    let full = (full, disk.fill(&fleet));
    (0..5).for_each(|_| users.more());
    drop(full);
    until("another app", || (*fleet.apps().get(&victim)? != before).then_some(()));
    fleet.all_serve(3, "1");
    fleet.deploy(&["2"]).succeeded_somehow();
    users.served_but(INSIDE);
    fleet.all_serve(3, "2");
    fleet.is_kept();
}
