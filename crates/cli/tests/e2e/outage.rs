//! C15: the database is away, and every instance fails its check at once. Nobody is emptied, restarted, replaced or
//! rolled back for it, and whoever needs no database notices nothing.

use crate::harness::{Fleet, Program, Setup, Shop, until};
use std::fs;

fn fleet(setup: &Setup) -> Fleet {
    let program = Program::app().file("flaw", "AsksADatabase");
    let shop = Shop::new(&Setup { health: "path = \"/healthz\"\nfailures = 2", ..setup.clone() });
    // As users do: a path that needs no database.
    shop.append("[prober]\npath = \"/\"\n");
    shop.publish("1", &program);
    shop.publish("2", &program);
    shop.write("database", "");
    let fleet = shop.up();
    fleet.deploy(&["1"]).succeeded_somehow();
    fleet
}

fn the_database_goes(fleet: &Fleet) {
    fs::remove_file(fleet.path().join("database")).unwrap();
}

/// Waits until everybody is known to fail its check, and says why.
fn all_are_ill(fleet: &Fleet) {
    until("every check to fail", || {
        let status = fleet.status();
        let ill = status.instances.iter().filter_map(|line| line.problem.as_ref());
        (ill.filter(|problem| problem.reason.contains("503")).count() == status.instances.len()).then_some(())
    });
}

#[test]
fn in_quiet_times_nobody_is_touched() {
    // An agent that begins gives an ill app the time of a start before it says so.
    let fleet = fleet(&Setup { deploy: "start = \"4s\"", ..Setup::default() });
    let users = fleet.users();
    let (apps, seats) = (fleet.apps(), fleet.seats());
    the_database_goes(&fleet);
    all_are_ill(&fleet);
    let doctor = fleet.everup(&["doctor"]).ended(2);
    assert!(doctor.out.contains("503"), "{}", doctor.out);
    users.more();
    // An agent that begins now has never seen its app healthy.
    let id = fleet.seats().into_keys().next().unwrap();
    let killed = fleet.agent(&id);
    fleet.kill_agent(&id);
    until("another agent", || (fleet.agent(&id) != killed).then_some(()));
    all_are_ill(&fleet);
    users.more();
    assert_eq!(fleet.apps(), apps);
    fleet.write("database", "");
    fleet.all_serve(4, "1");
    assert_eq!(fleet.apps(), apps);
    assert!(fleet.seats().keys().eq(seats.keys()), "an instance was replaced");
    users.all_served();
}

/// The roll waits and says for what, and goes on by itself.
#[test]
fn in_the_middle_of_a_roll() {
    let fleet = fleet(&Setup::default());
    let users = fleet.users();
    let before = fleet.apps();
    let running = fleet.begin(&["2"]);
    running.done(1);
    the_database_goes(&fleet);
    fleet.waits(|line| line.contains("the fleet to recover"));
    users.more();
    fleet.write("database", "");
    running.ended().succeeded();
    fleet.all_serve(4, "2");
    let again = fleet.apps();
    assert!(before.iter().all(|(id, app)| again[id] != *app));
    users.all_served();
}
