//! Releases that do not work: the fleet goes back, no user notices, and the reason names who, what and the last words.

use crate::harness::{Blame, Flaw, Program, Setup, Shop, Watch, python};
use everup_core::status::Status;

/// So many requests are inside one app at once.
const INSIDE: u64 = 5;

const NEVER_HEALTHY: Blame<'_> = Blame {
    check: "health check GET /healthz",
    reason: &["503", "no table named orders"],
    log: &["asked for its health"],
};
const EXITS_AT_ONCE: Blame<'_> = Blame {
    check: "start",
    reason: &["exit status 1"],
    log: &["starts on port", "no such key: payment.url"],
};
const DIES: Blame<'_> =
    Blame { check: "run", reason: &["exit status 1"], log: &["starts on port", "out of memory"] };
const WRONG_PORT: Blame<'_> = Blame {
    check: "port",
    reason: &["nothing listens on port", "must listen on $PORT"],
    log: &["version 2 starts on port"],
};
const WRONG_VERSION: Blame<'_> = Blame {
    check: "version",
    reason: &["version 0.9", "the release is 2"],
    log: &["version 2 starts on port"],
};

#[track_caller]
fn goes_back(setup: &Setup, next: &Program, blame: &Blame<'_>) {
    let fleet = Shop::serving(setup, &Program::app(), next);
    let users = fleet.users();
    let before = fleet.apps();
    let ended = fleet.deploy(&["2"]).rolled_back().blames(&fleet, blame);
    users.all_served();
    fleet.all_serve(4, "1");
    // C20: who was not touched was not restarted.
    let touched = ended.record.instances.values().filter(|entry| entry.touched).count();
    let restarted = fleet.apps().iter().filter(|(id, app)| before[id] != **app).count();
    assert!((1..=2).contains(&touched), "{touched} were touched");
    assert!(restarted <= touched, "{restarted} were restarted, {touched} touched");
}

/// C20: of ten, the third one to move does not come up. Those that were not touched keep their processes.
#[test]
fn the_third_of_ten_fails() {
    let command = "echo started >> \"$SHOP/starts\"; [ $(wc -l < \"$SHOP/starts\") -lt 3 ] || { echo two are enough; exit 7; }; exec python3 app.py";
    let setup = Setup { instances: 10, deploy: "start = \"5s\"\nprove = \"1s\"", ..checked() };
    let fleet = Shop::serving(&setup, &Program::app(), &Program::app().command(command));
    let users = fleet.users();
    let before = fleet.apps();
    let ended = fleet.deploy(&["2"]).rolled_back();
    let ended =
        ended.blames(&fleet, &Blame { check: "start", reason: &["exit status 7"], log: &["two are enough"] });
    fleet.all_serve(10, "1");
    let kept = fleet.apps().iter().filter(|(id, app)| before[id] == **app).count();
    assert_eq!(kept, 7);
    // Nine serve while one moves, on the way there and back.
    assert_eq!(ended.record.receipt.as_ref().unwrap().lowest_in_service, Some(9));
    users.all_served();
}

/// C20: the same under load, when its users are already inside, with apps that take their time to start. Neither on the
/// way there nor on the way back are there too few, in the fleet or in a zone.
#[test]
fn the_third_of_ten_dies_under_load() {
    let slow = |first: &str| Program::app().command(&format!("{first}sleep 3; exec {} app.py", python()));
    let count = "echo started >> \"$SHOP/starts\"; export STARTED=$(wc -l < \"$SHOP/starts\"); ";
    let setup = Setup { instances: 10, deploy: "prove = \"3s\"", ..checked() };
    let fleet = Shop::serving(&setup, &slow(""), &slow(count).with(Flaw::DiesThird));
    let users = fleet.users();
    let before = fleet.apps();
    let watch = Watch::over(&fleet);
    // Its end is noticed, or that it does not answer any more, whichever is first; its last words tell why.
    let ended = fleet.deploy(&["2"]).rolled_back().because(&["out of memory"]);
    fleet.all_serve(10, "1");
    let kept = fleet.apps().iter().filter(|(id, app)| before[id] == **app).count();
    assert_eq!(kept, 7, "{:#?}", ended.record.story);
    assert_eq!(ended.record.receipt.as_ref().unwrap().lowest_in_service, Some(9));
    // Who has just begun to look has not heard everybody.
    let mut seen = watch.seen();
    seen.retain(|status| status.instances.iter().filter(|line| line.phase.is_some()).count() == 10);
    assert!(seen.len() > 30, "it told only {} times how everybody is", seen.len());
    for Status { instances, .. } in seen {
        let serving = |zone: &str| {
            let lines = instances.iter().filter(|line| line.zone.as_str() == zone);
            lines.filter(|line| line.in_service).count()
        };
        let zones = [serving("a"), serving("b")];
        assert!(zones.iter().sum::<usize>() >= 9 && zones.iter().all(|n| *n >= 4), "{instances:#?}");
    }
    // What the release itself answered badly: whoever was inside it when it died.
    users.served_but(INSIDE);
}

/// All at once nobody starts the new release, so everybody goes back, and who waited meanwhile is answered.
#[track_caller]
fn all_go_back(next: &Program, blame: &Blame<'_>, lost: u64) {
    let fleet = Shop::serving(&checked(), &Program::app(), next);
    let users = fleet.users();
    let ended = fleet.deploy(&["2", "--strategy", "all-at-once"]).rolled_back();
    let ended = ended.blames(&fleet, blame);
    users.served_but(lost);
    fleet.all_serve(4, "1");
    assert!(ended.record.instances.values().all(|entry| entry.problem.is_some()), "{:#?}", ended.record);
}

#[test]
fn never_healthy_all_at_once() {
    all_go_back(&with(Flaw::NeverHealthy), &NEVER_HEALTHY, 0);
}

#[test]
fn never_healthy_and_hangs_on_stop_all_at_once() {
    all_go_back(&Program::app().file("flaw", "NeverHealthy, HangsOnStop"), &NEVER_HEALTHY, 0);
}

#[test]
fn exits_at_once_all_at_once() {
    all_go_back(&with(Flaw::ExitsAtOnce), &EXITS_AT_ONCE, 0);
}

#[test]
fn listens_on_the_wrong_port_all_at_once() {
    all_go_back(&with(Flaw::WrongPort), &WRONG_PORT, 0);
}

#[test]
fn reports_the_wrong_version_all_at_once() {
    all_go_back(&with(Flaw::WrongVersion), &WRONG_VERSION, 0);
}

/// It has served by then: what was inside each of the four is lost with it.
#[test]
fn dies_two_seconds_after_it_was_healthy_all_at_once() {
    all_go_back(&with(Flaw::DiesSoon), &DIES, 4 * INSIDE);
}

fn checked() -> Setup {
    let health = "path = \"/healthz\"\nversion_path = \"/version\"\nfailures = 2";
    Setup { health, deploy: "start = \"3s\"\nprove = \"3s\"", ..Setup::default() }
}

fn with(flaw: Flaw) -> Program {
    Program::app().with(flaw)
}

#[test]
fn never_healthy() {
    goes_back(&checked(), &with(Flaw::NeverHealthy), &NEVER_HEALTHY);
}

#[test]
fn never_healthy_beside_the_old_one() {
    let setup = Setup { deploy: "start = \"3s\"\noverlap = true", ..checked() };
    goes_back(&setup, &with(Flaw::NeverHealthy), &NEVER_HEALTHY);
}

/// It does not hear TERM either: it is killed, and the old release comes back.
#[test]
fn never_healthy_and_hangs_on_stop() {
    let next = Program::app().file("flaw", "NeverHealthy, HangsOnStop");
    goes_back(&checked(), &next, &NEVER_HEALTHY);
}

#[test]
fn exits_at_once() {
    goes_back(&checked(), &with(Flaw::ExitsAtOnce), &EXITS_AT_ONCE);
}

#[test]
fn dies_two_seconds_after_it_was_healthy() {
    // Requests that were inside when it died may have failed: the users' count is not asserted by the receipt's verdict.
    let fleet = Shop::serving(&checked(), &Program::app(), &with(Flaw::DiesSoon));
    let users = fleet.users();
    fleet.deploy(&["2"]).rolled_back().blames(&fleet, &DIES);
    users.served_but(INSIDE);
    fleet.all_serve(4, "1");
}

#[test]
fn dies_two_seconds_after_the_switch() {
    let setup =
        Setup { deploy: "start = \"3s\"\nprove = \"3s\"\nlinger = \"4s\"\noverlap = true", ..checked() };
    let fleet = Shop::serving(&setup, &Program::app(), &with(Flaw::DiesSoon));
    let users = fleet.users();
    fleet.deploy(&["2"]).rolled_back().blames(&fleet, &DIES);
    users.served_but(INSIDE);
    fleet.all_serve(4, "1");
}

#[test]
fn listens_on_the_wrong_port() {
    goes_back(&checked(), &with(Flaw::WrongPort), &WRONG_PORT);
}

#[test]
fn reports_the_wrong_version() {
    goes_back(&checked(), &with(Flaw::WrongVersion), &WRONG_VERSION);
}

/// The old release hangs, not the new one: it is killed when its time is over, and the roll goes on.
#[test]
fn hangs_on_stop() {
    let fleet =
        Shop::serving(&Setup { instances: 2, ..checked() }, &with(Flaw::HangsOnStop), &Program::app());
    let users = fleet.users();
    fleet.deploy(&["2"]).succeeded();
    users.all_served();
    fleet.all_serve(2, "2");
}

/// `impostors.rs` has those that answer for others.
#[test]
fn listens_on_no_port() {
    let setup = Setup { deploy: "start = \"3s\"", ..Setup::default() };
    let silent = Program::app().command("echo nobody told me a port; exec sleep 600");
    goes_back(&setup, &silent, &Blame { log: &["nobody told me a port"], ..WRONG_PORT });
}

#[test]
fn the_first_release_of_all_is_broken() {
    let shop = Shop::new(&Setup { instances: 2, ..checked() });
    shop.publish("1", &with(Flaw::ExitsAtOnce));
    shop.publish("2", &Program::app());
    let fleet = shop.up();
    let ended = fleet.deploy(&["1"]).blames(&fleet, &EXITS_AT_ONCE);
    assert_eq!(ended.code, 4, "{:#}", ended.document);
    fleet.deploy(&["2"]).succeeded_somehow();
    fleet.all_serve(2, "2");
}
