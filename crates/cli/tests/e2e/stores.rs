//! The store's folder is away for a while; and C17: the store carries a write out and its answer is lost. Nobody takes an own write for a rival's, and nothing is
//! begun or done twice.

use crate::faulty::{Fault, Proxy};
use crate::harness::{Fleet, Program, Setup, Shop, until};
use everup_core::seams::{Got, Store};
use everup_host::store::Folder;
use serde_json::Value;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

/// A folder whose store is S3, behind a proxy that is slow or loses answers; `None` if there is no server and none is
/// required.
pub(crate) fn shop_in_s3(setup: &Setup) -> Option<(Shop, Proxy)> {
    let required = std::env::var_os("EVERUP_TEST_REQUIRE").is_some();
    let endpoint = std::env::var("EVERUP_TEST_S3").ok().filter(|_| cfg!(feature = "s3"));
    assert!(
        endpoint.is_some() || !required,
        "this test needs the feature s3, and a server in EVERUP_TEST_S3"
    );
    let Some(endpoint) = endpoint else {
        eprintln!(
            "not run: it needs the feature s3 and a server in EVERUP_TEST_S3; `cargo xtask test` has both"
        );
        return None;
    };
    let proxy = Proxy::before(&endpoint);
    let bucket = std::env::var("EVERUP_TEST_S3_BUCKET").unwrap_or_else(|_| "everup-test".into());
    let mut shop = Shop::new(setup);
    shop.keep_in_s3(&bucket, &proxy.endpoint());
    Some((shop, proxy))
}

fn fleet_in_s3(releases: &[(&str, Program)]) -> Option<(Fleet, Proxy)> {
    let (shop, proxy) = shop_in_s3(&Setup { instances: 2, ..Setup::default() })?;
    for (version, program) in releases {
        shop.publish(version, program);
    }
    let fleet = shop.up();
    fleet.deploy(&["1"]).succeeded_somehow();
    Some((fleet, proxy))
}

fn deploys(fleet: &Fleet, proxy: &Proxy, version: &str, fault: Fault) {
    proxy.set(Some(fault));
    let said = fleet.everup(&["deploy", version]);
    let meets = |write: &String| write.contains("/local/version.properties");
    // It is written last, when the command may have ended.
    let met = until("the mirror to be written", || Some(proxy.met()).filter(|met| met.iter().any(meets)));
    proxy.set(None);
    assert!([0, 6].contains(&said.code), "{fault:?}: {}\n{}\n{}", said.code, said.out, said.err);
    for (object, least) in [("/local/head.json", 2), ("/local/deployments/", 3)] {
        let writes = met.iter().filter(|write| write.contains(object)).count();
        assert!(writes >= least, "{fault:?} was met {writes} times by {object}: {met:#?}");
    }
    fleet.all_serve(2, version);
}

/// How many deployments the store knows.
fn begun(fleet: &Fleet) -> usize {
    let said = fleet.everup(&["history", "--json"]).done();
    serde_json::from_str::<Vec<Value>>(&said.out).unwrap().len()
}

/// Its disk is not mounted, say. Nobody takes that for an empty store or makes one in its place, also not who begins
/// meanwhile; the apps serve on, and the next deployment goes on from what was stored.
#[test]
fn the_folder_is_away_for_a_while() {
    let fleet =
        Shop::serving(&Setup { instances: 2, ..Setup::default() }, &Program::python(), &Program::python());
    let users = fleet.users();
    let (store, away) = (fleet.state().join("store"), fleet.path().join("away"));
    let apps = fleet.apps();
    fs::rename(&store, &away).unwrap();
    for words in [["versions"].as_slice(), &["history"], &["deploy", "2"], &["rollback"]] {
        let said = fleet.everup(words);
        assert_eq!((said.code, said.out.as_str()), (9, ""), "{words:?}: {}", said.err);
        said.says(&["not there any more"]);
    }
    let first = fleet.seats().into_keys().next().unwrap();
    let killed = fleet.agent(&first);
    fleet.kill_agent(&first);
    until("another agent to wait for the store", || {
        (fleet.agent(&first) != killed && !fleet.logged("this agent cannot begin").is_empty()).then_some(())
    });
    users.more();
    assert!(!store.exists());
    fs::rename(&away, &store).unwrap();
    fleet.all_serve(2, "1");
    assert_eq!(fleet.apps(), apps);
    fleet.deploy(&["2"]).succeeded_somehow();
    assert_eq!(fleet.record(&fleet.deployments()[1]).unwrap().from.unwrap().version.as_str(), "1");
    users.all_served();
}

/// A bucket at an address where nobody listens; nothing where this build knows no bucket.
fn without_an_answer() -> Option<Shop> {
    if !cfg!(feature = "s3") {
        return None;
    }
    let mut shop = Shop::new(&Setup { instances: 1, ..Setup::default() });
    // The port of "discard": whoever had it would say nothing either.
    shop.keep_in_s3("everup-test", "http://127.0.0.1:9");
    Some(shop)
}

fn with_credentials(shop: &Shop, words: &[&str]) -> Command {
    let mut command = shop.command(words);
    command.env("AWS_ACCESS_KEY_ID", "everup").env("AWS_SECRET_ACCESS_KEY", "everup");
    command
}

/// Nobody can say that nothing was deployed. The fleet is there all the same, and waits for the store.
#[test]
fn a_fleet_whose_store_does_not_answer_is_up_and_says_so() {
    let Some(shop) = without_an_answer() else { return };
    let said = Shop::run(with_credentials(&shop, &["up", "--detach", "--json"])).ended(9);
    let said =
        said.says(&["trouble: the store does not answer: ", "what was deployed is not known", "[store]"]);
    assert!(!said.err.contains("nothing is deployed yet"), "{}", said.err);
    let document: Value = serde_json::from_str(&said.out).unwrap();
    let trouble = document["trouble"].as_str().unwrap_or_default();
    assert!(trouble.ends_with("what was deployed is not known"), "{document:#}");
    assert_eq!((&document["instances"], &document["release"]), (&1.into(), &Value::Null), "{document:#}");
    Shop::run(with_credentials(&shop, &["down"])).done();
}

/// A release that was not stored is no bug of everup.
#[test]
fn to_publish_where_nobody_answers_is_unreachable() {
    let Some(shop) = without_an_answer() else { return };
    shop.write("release/index.html", "hello");
    let words = ["publish", "release", "--version", "1", "--start", "sleep 1", "--json"];
    let said = Shop::run(with_credentials(&shop, &words)).ended(9).says(&["[store]", "127.0.0.1:9"]);
    let document: Value = serde_json::from_str(&said.out).unwrap();
    assert_eq!(document["error"]["exit"], 9, "{document:#}");
}

/// Nobody has heard of the address that the machine's own credentials would come from.
#[test]
fn a_bucket_without_credentials_says_which_variables_to_set() {
    let Some(shop) = without_an_answer() else { return };
    shop.write("release/index.html", "hello");
    let mut command = shop.command(&["publish", "release", "--version", "1", "--start", "sleep 1"]);
    for variable in std::env::vars().map(|(name, _)| name).filter(|name| name.starts_with("AWS_")) {
        command.env_remove(variable);
    }
    command.env("AWS_METADATA_ENDPOINT", "http://127.0.0.1:9");
    Shop::run(command).ended(9).says(&[
        "no credentials were found",
        "AWS_ACCESS_KEY_ID",
        "AWS_SECRET_ACCESS_KEY",
    ]);
}

/// What is stored under the version is no release: that is to be mended by whoever publishes.
#[test]
fn to_publish_over_what_is_no_release_is_bad_input() {
    let shop = Shop::new(&Setup { instances: 1, ..Setup::default() });
    shop.publish("1", &Program::python());
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Folder::existing(&shop.store()).unwrap();
        let Got::Found { etag, .. } = store.get("releases/1/manifest.json", None).await.unwrap() else {
            panic!("there is no manifest")
        };
        store.replace("releases/1/manifest.json", &etag, b"{}".to_vec()).await.unwrap();
    });
    let said = shop.everup(&["publish", "release-1", "--version", "1"]).ended(2);
    said.says(&["the manifest of version 1 is refused", "publish this one under another version"]);
}

/// Something has opened the keys to others, and no agent that begins takes them: none is given up for that with its app.
#[test]
fn the_keys_cannot_be_used_for_a_while() {
    let fleet =
        Shop::serving(&Setup { instances: 2, ..Setup::default() }, &Program::python(), &Program::python());
    let users = fleet.users();
    let (keys, apps) = (fleet.state().join("keys.json"), fleet.apps());
    let open_to = |mode| fs::set_permissions(&keys, fs::Permissions::from_mode(mode)).unwrap();
    open_to(0o640);
    let ids: Vec<_> = fleet.seats().into_keys().collect();
    let killed = ids.iter().map(|id| fleet.agent(id)).collect::<Vec<_>>();
    ids.iter().for_each(|id| fleet.kill_agent(id));
    until("both agents to wait for the keys", || {
        let waiting = fleet.logged("this agent cannot begin without the keys");
        let are_new = ids.iter().zip(&killed).all(|(id, killed)| fleet.agent(id) != *killed);
        (are_new && waiting.len() >= 2 * 3).then_some(())
    });
    users.more();
    open_to(0o600);
    fleet.all_serve(2, "1");
    assert_eq!(fleet.apps(), apps);
    fleet.deploy(&["2"]).succeeded_somehow();
    users.all_served();
}

#[test]
fn answers_are_lost_in_a_roll() {
    let releases = [("1", Program::python()), ("2", Program::python())];
    let Some((fleet, proxy)) = fleet_in_s3(&releases) else { return };
    let users = fleet.users();
    deploys(&fleet, &proxy, "2", Fault::AnswerLost);
    deploys(&fleet, &proxy, "1", Fault::Conflict);
    deploys(&fleet, &proxy, "2", Fault::Busy);
    assert_eq!(begun(&fleet), 4);
    users.all_served();
}

#[test]
fn answers_are_lost_all_at_once() {
    let migration = |id: &str| Program::python().migrating(id, &format!("echo {id} >> \"$SHOP/ran\""));
    let releases = [("1", Program::python()), ("2", migration("m2")), ("3", migration("m3"))];
    let Some((fleet, proxy)) = fleet_in_s3(&releases) else { return };
    let users = fleet.users();
    deploys(&fleet, &proxy, "2", Fault::Fails);
    deploys(&fleet, &proxy, "3", Fault::AnswerLost);
    assert_eq!(begun(&fleet), 3);
    assert_eq!(fs::read_to_string(fleet.path().join("ran")).unwrap(), "m2\nm3\n");
    users.all_served();
}

/// The agent is killed between the write that begins a deployment and its answer. The command asks another, and it is
/// the same deployment.
#[test]
fn the_agent_that_begins_dies_before_it_says_so() {
    let releases = [("1", Program::python()), ("2", Program::python())];
    let Some((fleet, proxy)) = fleet_in_s3(&releases) else { return };
    let users = fleet.users();
    // The first is asked first.
    let first = fleet.seats().into_keys().next().unwrap();
    until("nobody to coordinate", || fleet.status().head.filter(|head| head.lease.is_none()));
    proxy.set(Some(Fault::Silent));
    let said = std::thread::scope(|scope| {
        let deploy = scope.spawn(|| fleet.everup(&["deploy", "2"]));
        until("the deployment to be written", || {
            proxy.met().iter().any(|write| write.contains("/local/head.json")).then_some(())
        });
        proxy.set(None);
        fleet.kill_agent(&first);
        deploy.join().unwrap()
    });
    assert!([0, 6].contains(&said.code), "{}\n{}\n{}", said.code, said.out, said.err);
    assert_eq!(begun(&fleet), 2, "{}", said.err);
    fleet.all_serve(2, "2");
    users.all_served();
}
