//! The user that an app runs as: who it is, what is its own, and what it may not touch.

use crate::harness::{Fleet, Program, Setup, Shop, is_root};
use std::collections::BTreeMap;
use std::fs::{self, Permissions};
use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::Path;

const USER: &str = "nobody";

/// Says who it is, and what it may do.
const ASK: &str = "echo \"uid $(id -u)\"; echo \"groups $(id -G)\"; echo \"home $HOME of $USER\"; \
     (echo no > \"$EVERUP_RELEASE/new\") 2>/dev/null && echo changed the release; \
     (echo no >> index.html) 2>/dev/null && echo changed a file of the release; \
     cat \"$SHOP/.everup/keys.json\" 2>/dev/null && echo read the keys; \
     ls \"$SHOP/.everup/store\" 2>/dev/null && echo looked into the store";

fn asking(into: &str, then: &str) -> String {
    format!("{{ {ASK}; }} > \"{into}\"; {then}")
}

/// A user of the machine, as its own tools say.
fn of_user(what: &str) -> String {
    let said = std::process::Command::new("id").args([what, USER]).output().unwrap();
    String::from_utf8(said.stdout).unwrap().trim().to_owned()
}

/// What was asked, as "uid 65534", and nothing else than what it may.
#[track_caller]
fn is_the_user(said: &Path) {
    let text = fs::read_to_string(said).unwrap();
    let mut lines: Vec<&str> = text.lines().collect();
    let home = lines.pop().unwrap().to_owned();
    // Its own group alone: none that everup's user is in.
    assert_eq!(lines, [format!("uid {}", of_user("-u")), format!("groups {}", of_user("-g"))], "{text}");
    assert!(home.starts_with("home /") && home.ends_with(&format!(" of {USER}")), "{text}");
    assert_eq!(fs::metadata(said).unwrap().uid().to_string(), of_user("-u"));
}

fn fleet(setup: &Setup) -> Fleet {
    let shop = Shop::new(setup);
    shop.edit("[app]", &format!("[app]\nuser = \"{USER}\""));
    // Others have to come as far as what is theirs.
    fs::set_permissions(shop.path(), Permissions::from_mode(0o755)).unwrap();
    fs::create_dir(shop.path().join("told")).unwrap();
    fs::set_permissions(shop.path().join("told"), Permissions::from_mode(0o777)).unwrap();
    let python = Program::python();
    let serve = python.says_how().to_owned();
    let app = asking("$EVERUP_DATA/app", &format!("echo \"it is $(id -un)\"; {serve}"));
    let migration = asking("$SHOP/told/migration", "true");
    shop.publish("1", &python.clone().command(&app));
    shop.publish("2", &python.command(&app).migrating("orders", &migration));
    let fleet = shop.up();
    fleet.deploy(&["1"]).succeeded_somehow();
    fleet
}

#[test]
fn an_app_its_migration_and_its_check_are_the_user_that_everup_toml_names() {
    if !is_root() {
        return;
    }
    // Put there whole: it is asked again and again, and read meanwhile.
    let check = "command = \"id -u > $SHOP/told/check.$$; mv $SHOP/told/check.$$ $SHOP/told/check; ! kill -0 1 2>/dev/null\"";
    let fleet = fleet(&Setup { instances: 2, health: check, ..Setup::default() });
    let users = fleet.users();
    let data = |id: &str| fleet.state().join("instances").join(id).join("data");
    for id in fleet.seats().keys() {
        is_the_user(&data(id.as_str()).join("app"));
        let own = fs::metadata(data(id.as_str())).unwrap();
        assert_eq!((own.uid().to_string(), own.gid().to_string()), (of_user("-u"), of_user("-g")));
    }
    for app in fleet.apps().into_values() {
        let owner = fs::metadata(format!("/proc/{app}")).unwrap().uid();
        assert_eq!(owner.to_string(), of_user("-u"));
    }
    assert_eq!(fs::read_to_string(fleet.path().join("told/check")).unwrap().trim(), of_user("-u"));
    log_is_everups(&fleet);
    fleet.deploy(&["2"]).succeeded();
    is_the_user(&fleet.path().join("told/migration"));
    users.all_served();
    fleet.all_serve(2, "2");
}

/// What the app says is kept, where the app itself cannot change it.
#[track_caller]
fn log_is_everups(fleet: &Fleet) {
    let mut said: BTreeMap<String, usize> = BTreeMap::new();
    for id in fleet.seats().keys() {
        let folder = fleet.state().join("instances").join(id.as_str()).join("log");
        for entry in fs::read_dir(folder).unwrap().map(Result::unwrap) {
            let meta = entry.metadata().unwrap();
            assert_eq!((meta.uid(), meta.mode() & 0o777), (0, 0o600), "{}", entry.path().display());
            let text = fs::read_to_string(entry.path()).unwrap();
            *said.entry(id.to_string()).or_default() += text.matches(&format!("it is {USER}\n")).count();
        }
    }
    assert!(said.len() == 2 && said.values().all(|times| *times == 1), "{said:?}");
}
