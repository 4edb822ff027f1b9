//! What a receipt says: kept where everything was seen and nothing failed; not measured where nobody can know.

use crate::harness::{Ended, Fleet, Program, Setup, Shop, Step, freeze, signal, until};
use crate::life::{AllAtOnce, Life};
use everup_core::receipt::Verdict;
use everup_core::time::Millis;
use everup_engine::prober::LATE;
use rustix::process::Signal;
use std::time::Instant;

/// On a busy machine a prober may rightly say that it was late; in one of so many deployments it is not.
const TRIES: usize = 3;

/// Each way to deploy: every source saw all of it, and the command says so by its exit code.
#[track_caller]
fn is_kept(deploy: &'static str, strategy: &str) {
    let setup = Setup { instances: 3, deploy, ..Setup::default() };
    let fleet = Shop::serving(&setup, &Program::python(), &Program::python());
    let users = fleet.users();
    for version in ["2", "1"].into_iter().cycle().take(TRIES) {
        let Ended { code, record, document, .. } = fleet.deploy(&[version, "--strategy", strategy]);
        let receipt = record.receipt.unwrap();
        if receipt.verdict != Verdict::Kept {
            assert_eq!((receipt.verdict, code), (Verdict::NotMeasured, 6), "{document:#}");
            assert!(!receipt.sources["prober"].missing.is_empty(), "{document:#}");
            continue;
        }
        assert_eq!(code, 0, "{document:#}");
        assert_eq!(document["verdict"], "kept");
        assert!(receipt.sources.values().all(|source| source.requests.total > 0), "{document:#}");
        assert!(receipt.requests.failed == 0, "{document:#}");
        assert!(users.all_served().total() > 0);
        fleet.all_serve(3, version);
        assert!(told(&fleet, record.id.as_str()).contains("not one request failed"));
        return;
    }
    panic!("of {TRIES} deployments none was kept");
}

/// The history of a deployment, as a person reads it.
fn told(fleet: &Fleet, id: &str) -> String {
    fleet.everup(&["history", id]).done().out
}

#[test]
fn a_quiet_roll_is_kept() {
    is_kept("", "rolling");
}

#[test]
fn a_quiet_roll_with_overlap_is_kept() {
    is_kept("overlap = true", "rolling");
}

#[test]
fn quiet_all_at_once_is_kept() {
    is_kept("", "all-at-once");
}

/// Whoever is asked for figures does not answer for longer than a lease lasts. Its coordinator is at work, and nobody takes
/// over from it.
#[test]
fn an_agent_that_hangs_holds_up_no_receipt() {
    let Some((mut life, store)) = Life::in_s3(AllAtOnce) else { return };
    let mut asleep = None;
    let ended = life.unwritten(&store, "\"state\": \"succeeded\"", |life, _| {
        let coordinator = life.fleet.coordinator();
        let other = life.fleet.seats().into_keys().find(|id| *id != coordinator).unwrap();
        let agent = life.fleet.agent(&other);
        freeze(agent);
        asleep = Some((agent, life.fleet.head().unwrap().term));
    });
    let (agent, term) = asleep.unwrap();
    assert!(ended.record.receipt.is_some(), "{:#}", ended.document);
    assert_eq!(ended.record.term, term);
    signal(agent, Signal::CONT);
    life.all_serve();
    life.ends();
}

/// Every prober sleeps for a while, and no request fails: but nobody can say so.
#[test]
fn a_time_that_no_prober_saw_is_not_measured() {
    let shop = Shop::new(&Setup { instances: 2, deploy: "overlap = true", ..Setup::default() });
    shop.publish_patient(&["1", "2"]);
    let fleet = shop.up();
    fleet.deploy(&["1"]).succeeded_somehow();
    let users = fleet.users();
    fleet.block(Step::Starting);
    let running = fleet.begin(&["2"]);
    fleet.comes_to(Step::Starting);
    let agents: Vec<u32> = fleet.seats().keys().map(|id| fleet.agent(id)).collect();
    agents.iter().for_each(|agent| freeze(*agent));
    let since = Instant::now();
    let unseen = Millis(2 * LATE.0).as_duration();
    until("a time that nobody saw", || {
        users.more();
        (since.elapsed() > unseen).then_some(())
    });
    agents.iter().for_each(|agent| signal(*agent, Signal::CONT));
    fleet.unblock(Step::Starting);
    let Ended { code, record, document, .. } = running.ended();
    users.all_served();
    let receipt = record.receipt.unwrap();
    assert_eq!((receipt.verdict, code), (Verdict::NotMeasured, 6), "{document:#}");
    assert!(receipt.sources["gates"].missing.is_empty(), "{document:#}");
    assert!(!receipt.sources["prober"].missing.is_empty(), "{document:#}");
    let told = told(&fleet, record.id.as_str());
    assert!(told.contains(": not measured") && told.contains("not seen"), "{told}");
    fleet.all_serve(2, "2");
}
