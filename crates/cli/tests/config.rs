//! everup.toml: what is read, and every mistake's whole text.

use everup_cli::config;
use everup_core::ids::Zone;
use everup_core::policy::{Size, Strategy};
use everup_core::time::Millis;
use everup_host::settings::{Check, GateKind, Settings, Store};
use snapbox::str;
use std::path::Path;

fn read(text: &str) -> Result<Settings, String> {
    config::read(Path::new("everup.toml"), text, Path::new("/srv/shop")).map_err(|broken| broken.text(false))
}

#[track_caller]
fn mistakes(text: &str, expected: impl snapbox::IntoData) {
    snapbox::assert_data_eq!(read(text).expect_err("it has mistakes"), expected);
}

#[test]
fn an_empty_file_is_all_defaults() {
    let settings = read("").unwrap();
    assert_eq!(settings, Settings::in_folder(Path::new("/srv/shop")));
}

#[test]
fn every_key_is_read() {
    let settings = read(
        r#"
        application = "shop"
        environment = "production"
        [app]
        command = "node server.js"
        user = "www-data"
        env = { KEY = "value" }
        stop = "20s"
        [health]
        path = "/healthz"
        version_path = "/version"
        interval = "2s"
        deadline = "3s"
        successes = 2
        failures = 4
        host = "shop.example"
        forwarded_proto = "https"
        [listen]
        address = "0.0.0.0:80"
        [fleet]
        min = 2
        max = 16
        desired = 4
        zones = ["x", "y", "z"]
        gate = "proxy"
        [deploy]
        strategy = "all-at-once"
        batch = "25%"
        min_in_service = 2
        overlap = true
        max_failures = 1
        drain = "10s"
        linger = "500ms"
        bound = "10min"
        [hold]
        wait = "20s"
        requests = 100
        bytes = "1MB"
        [store]
        s3 = "s3://bucket/shop"
        endpoint = "http://127.0.0.1:9000"
        [log]
        size = "1MB"
        keep = 1
        "#,
    )
    .unwrap();
    assert_eq!(
        settings.health.check,
        Check::Http {
            path: "/healthz".into(),
            host: Some("shop.example".into()),
            forwarded_proto: Some("https".into()),
        }
    );
    assert_eq!(settings.fleet.zones, ["x", "y", "z"].map(|z| Zone::new(z).unwrap()));
    assert_eq!(settings.fleet.gate, GateKind::Proxy);
    assert_eq!(settings.deploy.strategy, Strategy::AllAtOnce);
    assert_eq!(settings.deploy.batch, Size::Percent(25));
    assert_eq!((settings.deploy.stop, settings.deploy.linger), (Millis(20_000), Millis(500)));
    assert_eq!((settings.hold().wait, settings.hold().bytes), (Millis(20_000), 1_000_000));
    assert!(matches!(settings.store, Store::S3 { ref url, .. } if url == "s3://bucket/shop"));
}

#[test]
fn a_slip_in_a_key_is_answered_by_the_near_one() {
    mistakes(
        "[app]\ncommand = \"x\"\n[helth]\npath = \"/\"\n",
        str![[r#"
error: unknown key `helth` in this file
 --> everup.toml:3:2
  |
3 | [helth]
  |  ^^^^^ did you mean `health`?
"#]],
    );
    mistakes(
        "[health]\nintervall = \"1s\"\n",
        str![[r#"
error: unknown key `intervall` in [health]
 --> everup.toml:2:1
  |
2 | intervall = "1s"
  | ^^^^^^^^^ did you mean `interval`?
"#]],
    );
}

#[test]
fn a_key_that_is_like_none_is_answered_by_all() {
    mistakes(
        "[log]\nrotate = true\n",
        str![[r#"
error: unknown key `rotate` in [log]
 --> everup.toml:2:1
  |
2 | rotate = true
  | ^^^^^^ known here: size and keep
"#]],
    );
}

#[test]
fn a_wrong_type_says_what_was_expected_and_what_is_there() {
    mistakes(
        "[health]\ninterval = 1\n[fleet]\nzones = \"a\"\nmax = \"8\"\n",
        str![[r#"
error: `interval` in [health] is a whole number
 --> everup.toml:2:12
  |
2 | interval = 1
  |            ^ expected a span of time such as "500ms", "30s", "5min" or "1h"

error: `zones` in [fleet] is a text
 --> everup.toml:4:9
  |
4 | zones = "a"
  |         ^^^ expected a list of names such as ["a", "b"]

error: `max` in [fleet] is a text
 --> everup.toml:5:7
  |
5 | max = "8"
  |       ^^^ expected a whole number from 0 to 10000
"#]],
    );
    mistakes(
        "app = \"x\"\n",
        str![[r#"
error: `app` in this file is a text
 --> everup.toml:1:7
  |
1 | app = "x"
  |       ^^^ expected a table
"#]],
    );
}

#[test]
fn a_wrong_value_says_what_would_be_right() {
    mistakes(
        "[listen]\naddress = \"localhost:80\"\n[deploy]\nbatch = \"0%\"\n",
        str![[r#"
error: `address` in [listen] is "localhost:80"
 --> everup.toml:2:11
  |
2 | address = "localhost:80"
  |           ^^^^^^^^^^^^^^ expected an IP address and a port such as "127.0.0.1:8080" or "[::]:80"

error: `batch` in [deploy] is "0%"
 --> everup.toml:4:9
  |
4 | batch = "0%"
  |         ^^^^ expected a number of instances (2) or a percentage ("25%")
"#]],
    );
    mistakes(
        "environment = \"a/b\"\n[fleet]\nzones = [\"a\", \"a\"]\n",
        str![[r#"
error: `environment` in this file is wrong: environment "a/b" may hold only letters, digits, '.', '_', '+' and '-'
 --> everup.toml:1:15
  |
1 | environment = "a/b"
  |               ^^^^^ expected a name such as "production"

error: `zones` in [fleet] names a twice
 --> everup.toml:3:9
  |
3 | zones = ["a", "a"]
  |         ^^^^^^^^^^ expected a list of names such as ["a", "b"]
"#]],
    );
}

#[test]
fn what_does_not_fit_together_is_found() {
    mistakes(
        "[fleet]\nmin = 4\nmax = 2\n",
        str![[r#"
error: [fleet] has a min of 4 and a max of 2
 --> everup.toml:3:7
  |
3 | max = 2
  |       ^ expected min <= desired <= max
"#]],
    );
    mistakes(
        "[fleet]\nmax = 4\ndesired = 6\n[deploy]\nmin_in_service = 5\n[hold]\nwait = \"2min\"\n",
        str![[r#"
error: `desired` in [fleet] is 6, outside of min (1) to max (4)
 --> everup.toml:3:11
  |
3 | desired = 6
  |           ^ expected min <= desired <= max

error: `min_in_service` in [deploy] is 5, but the fleet never has more than 4
 --> everup.toml:5:18
  |
5 | min_in_service = 5
  |                  ^ expected at most 4

error: `wait` in [hold] is 2 min, longer than clients and balancers wait
 --> everup.toml:7:8
  |
7 | wait = "2min"
  |        ^^^^^^ expected at most "55s"
"#]],
    );
    mistakes(
        "[health]\ntcp = true\npath = \"/\"\n[store]\nfolder = \"x\"\ns3 = \"s3://b\"\n",
        str![[r#"
error: [health] names more than one check
 --> everup.toml:2:7
  |
2 | tcp = true
  |       ^^^^ one of path, tcp and command

error: [store] names two stores
 --> everup.toml:6:6
  |
6 | s3 = "s3://b"
  |      ^^^^^^^^ either `folder` or `s3`
"#]],
    );
}

#[test]
fn what_is_no_toml_has_its_place_too() {
    mistakes(
        "[app\ncommand = \"x\"\n[fleet]\nmin = two\n",
        str![[r#"
error: this is not TOML
 --> everup.toml:1:5
  |
1 | [app
  |     ^ unclosed table, expected `]`

error: this is not TOML
 --> everup.toml:4:7
  |
4 | min = two
  |       ^^^ invalid boolean, expected `true`
"#]],
    );
}

#[test]
fn what_is_not_said_of_the_fleet_follows_from_what_is() {
    let fleet = |text: &str| {
        let fleet = read(text).unwrap().fleet;
        (fleet.min, fleet.desired, fleet.max)
    };
    assert_eq!(fleet("[fleet]\nmin = 4\n"), (4, 4, 8));
    assert_eq!(fleet("[fleet]\nmax = 1\n"), (1, 1, 1));
    assert_eq!(fleet("[fleet]\ndesired = 12\n"), (1, 12, 12));
}
