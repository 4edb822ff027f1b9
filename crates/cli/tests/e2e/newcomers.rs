//! C21: instances come while a roll fails, on its way back, and after an abort. Each takes what is right at that moment,
//! and in the end there is one release: in the fleet, in head and in version.properties.

use crate::harness::{Fleet, Setup, Shop, until};
use crate::stores::shop_in_s3;
use everup_core::deployment::State;
use everup_core::ids::InstanceId;
use everup_core::status::Line;
use std::collections::BTreeSet;
use std::fs;
use std::time::Duration;

/// An app that is started on this instance waits.
fn block(fleet: &Fleet, id: &InstanceId) {
    fleet.write(&format!("not-starting-{id}"), "");
}

fn unblock(fleet: &Fleet, id: &InstanceId) {
    fs::remove_file(fleet.path().join(format!("not-starting-{id}"))).unwrap();
}

/// Waits until an app of `version` waits on one of `among`, and says which.
fn waits_on(fleet: &Fleet, version: &str, among: &BTreeSet<InstanceId>) -> InstanceId {
    until("an app to be started", || among.iter().find(|id| fleet.starts(version, id) > 0).cloned())
}

/// Three more come, and serve `version`, which the mirror's readers do not hear of before it is proven for good.
#[track_caller]
fn three_come(fleet: &Fleet, version: &str) {
    let before = fleet.seats();
    fleet.everup(&["scale", &(before.len() + 3).to_string()]).done();
    let serves = |line: &Line| {
        let runs = line.release.as_ref().is_some_and(|release| release.version.as_str() == version);
        !before.contains_key(&line.id) && line.in_service && runs
    };
    until(&format!("three newcomers to serve {version}"), || {
        (fleet.status().instances.iter().filter(|line| serves(line)).count() == 3).then_some(())
    });
    assert_eq!(mirrored(fleet), "1");
}

/// What version.properties says.
fn mirrored(fleet: &Fleet) -> String {
    let text = String::from_utf8(fleet.object("local/version.properties").unwrap()).unwrap();
    text.lines().find_map(|line| line.strip_prefix("version.number=")).unwrap().to_owned()
}

/// One release everywhere, in head and in the mirror.
#[track_caller]
fn all_is_one(fleet: &Fleet, instances: usize) {
    fleet.all_serve(instances, "1");
    let head = until("head to be let go", || fleet.head().filter(|head| head.current.is_none()));
    let versions = [head.proven, head.newcomers].map(|release| release.unwrap().version.to_string());
    assert_eq!(versions, ["1", "1"]);
    assert_eq!(mirrored(fleet), "1");
}

#[test]
fn come_while_a_roll_fails_and_after_it() {
    come(Shop::new(&setup()), || ());
}

/// Each newcomer boots while every call of the store takes its time.
#[test]
fn come_while_the_store_is_slow() {
    let Some((shop, proxy)) = shop_in_s3(&setup()) else { return };
    come(shop, || proxy.delay(Duration::from_millis(250)));
}

fn setup() -> Setup {
    Setup { instances: 2, ..Setup::default() }
}

/// They come before the first batch is proven and after it, on the way back and after it, and after an abort; `trouble`
/// begins before that.
fn come(shop: Shop, trouble: impl FnOnce()) {
    shop.publish_patient(&["1", "2", "3"]);
    let fleet = shop.up();
    fleet.deploy(&["1"]).succeeded_somehow();
    let users = fleet.users();
    trouble();
    let old: BTreeSet<_> = fleet.seats().into_keys().collect();
    old.iter().for_each(|id| block(&fleet, id));

    // Before the first batch is proven, the old release is right; after it, the new one.
    let running = fleet.begin(&["2"]);
    let first = waits_on(&fleet, "2", &old);
    three_come(&fleet, "1");
    unblock(&fleet, &first);
    let second: BTreeSet<_> = old.iter().filter(|id| **id != first).cloned().collect();
    let second = waits_on(&fleet, "2", &second);
    three_come(&fleet, "2");

    // On the way back it is the old one again.
    let before = fleet.starts("1", &first);
    block(&fleet, &first);
    unblock(&fleet, &second);
    fleet.kill_app(&second);
    until("the first one's way back", || (fleet.starts("1", &first) > before).then_some(()));
    assert_eq!(running.record().unwrap().state, State::RollingBack);
    three_come(&fleet, "1");
    // Whoever takes over goes on with the way back.
    fleet.kill_agent(&fleet.coordinator());
    unblock(&fleet, &first);
    running.ended().rolled_back();
    all_is_one(&fleet, 11);

    // And after it, and after an abort.
    fleet.everup(&["scale", "2"]).done();
    all_is_one(&fleet, 2);
    three_come(&fleet, "1");
    let all: BTreeSet<_> = fleet.seats().into_keys().collect();
    all.iter().for_each(|id| block(&fleet, id));
    let running = fleet.begin(&["3"]);
    waits_on(&fleet, "3", &all);
    fleet.everup(&["abort"]).done();
    all.iter().for_each(|id| unblock(&fleet, id));
    assert_eq!(running.ended().code, 3);
    three_come(&fleet, "1");
    all_is_one(&fleet, 8);
    users.all_served();
}
