//! A clock that is five minutes off: whoever has it is told, or named, with the difference; nothing else goes wrong.

use crate::harness::{Clock, Program, Setup, Shop, until};

fn shop(instances: u32) -> Shop {
    let shop = Shop::new(&Setup { instances, ..Setup::default() });
    shop.publish("1", &Program::python());
    shop.publish("2", &Program::python());
    shop
}

#[test]
fn of_whoever_asks() {
    let Some(clock) = Clock::find() else { return };
    let fleet = shop(2).up();
    fleet.deploy(&["1"]).succeeded_somehow();
    let users = fleet.users();
    let head = fleet.head();
    for off in ["+5m", "-5m"] {
        for words in [&["deploy", "2"][..], &["status"], &["scale", "3"]] {
            let mut command = fleet.command(words);
            clock.set(&mut command, off);
            let said = Shop::run(command);
            if words == ["scale", "3"] {
                // The keeper's socket is this machine's own, and asks nobody for the time.
                said.done();
                fleet.everup(&["scale", "2"]).done();
                fleet.all_serve(2, "1");
                continue;
            }
            let said = said.ended(9).says(&["set the one that is wrong", "two minutes are allowed"]);
            assert!(names_five_minutes(&said.err), "{}", said.err);
        }
    }
    assert_eq!(fleet.head(), head);
    fleet.all_serve(2, "1");
    users.all_served();
}

/// It cannot be told anything, nor say anything; so it is named, whoever is asked, until its clock is right again.
#[test]
fn of_an_agent() {
    let Some(clock) = Clock::find() else { return };
    let mut shop = shop(3);
    clock.leave_to(&mut shop);
    let fleet = shop.up();
    fleet.deploy(&["1"]).succeeded_somehow();
    let users = fleet.users();
    let before = fleet.apps();
    // The first of them: every command asks it first.
    let id = fleet.seats().into_keys().next().unwrap();
    restart_at(&fleet, &id, "-5m");
    let named = |line: &str| line.contains(&format!("the clock of {id} and")) && names_five_minutes(line);
    until("the status to name it", || {
        let said = fleet.everup(&["status"]).done();
        named(&said.out).then_some(())
    });
    let said = fleet.everup(&["doctor"]).ended(2);
    assert!(named(&said.out), "{}", said.out);
    assert_eq!(fleet.apps(), before);
    // A deployment waits for it, says so, and goes on when its clock is right.
    let running = fleet.begin(&["2"]);
    fleet.waits(named);
    restart_at(&fleet, &id, "+0");
    running.ended().succeeded_somehow();
    fleet.all_serve(3, "2");
    users.all_served();
}

/// A second may have passed, and RFC 9421 counts whole ones.
fn names_five_minutes(text: &str) -> bool {
    ["by 5 min", "by 4 min 5"].iter().any(|span| text.contains(span))
}

fn restart_at(fleet: &crate::harness::Fleet, id: &everup_core::ids::InstanceId, off: &str) {
    fleet.write(Clock::FILE, off);
    let killed = fleet.agent(id);
    fleet.kill_agent(id);
    until("another agent", || (fleet.agent(id) != killed).then_some(()));
}
