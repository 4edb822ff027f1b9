//! `everup init` in folders of several kinds, by the real binary.
#![expect(clippy::unwrap_used, reason = "helpers of tests")]

use everup_cli::config;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, Output};

fn everup(folder: &Path, words: &[&str]) -> Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_everup"));
    command.args(words).current_dir(folder).env_remove("EVERUP_CONFIG").output().unwrap()
}

/// The command that `init` finds in a folder with these files; the file that it writes has to be without mistakes.
fn command(files: &[(&str, &str)]) -> String {
    let folder = tempfile::tempdir().unwrap();
    for (name, text) in files {
        fs::write(folder.path().join(name), text).unwrap();
    }
    let ended = everup(folder.path(), &["init"]);
    assert!(ended.status.success(), "{ended:?}");
    config::load(None, folder.path()).unwrap().app.command.unwrap()
}

#[test]
fn each_kind_of_folder_is_started_its_own_way() {
    let kinds: [(&[(&str, &str)], &str); 12] = [
        (&[("Procfile", "web: node server.js\nworker: x\n"), ("package.json", "{}")], "node server.js"),
        (&[("package.json", r#"{"scripts": {"start": "node server.js"}}"#)], "exec node server.js"),
        (&[("package.json", r#"{"scripts": {"start": "next start"}}"#)], "npm start"),
        (&[("package.json", "{}"), ("app.js", "")], "exec node app.js"),
        (
            &[
                ("manage.py", "os.environ.setdefault(\"DJANGO_SETTINGS_MODULE\", \"shop.settings\")"),
                ("requirements.txt", "Django==5\ngunicorn>=20\n"),
            ],
            "exec gunicorn --bind \"127.0.0.1:$PORT\" shop.wsgi",
        ),
        (
            &[("app.py", ""), ("requirements.txt", "Flask\n")],
            "exec python3 -m flask --app app run --port \"$PORT\"",
        ),
        (&[("app.py", "")], "exec python3 app.py"),
        (&[("index.html", "<p>")], "exec python3 -m http.server \"$PORT\" --bind 127.0.0.1"),
        (&[("shop.jar", "")], "exec java -jar shop.jar --server.port=\"$PORT\""),
        (&[("Cargo.toml", "[package]\nname = \"shop\"\n")], "exec ./shop"),
        (&[("go.mod", "module example.org/x/shop\n")], "exec ./shop"),
        (&[], "./server --port \"$PORT\""),
    ];
    for (files, expected) in kinds {
        assert_eq!(command(files), expected, "{files:?}");
    }
    assert!(command(&[("nginx.conf", "")]).contains("exec nginx"));
}

#[test]
fn the_only_program_of_a_folder_is_started() {
    let folder = tempfile::tempdir().unwrap();
    let program = folder.path().join("shop");
    fs::write(&program, "#!/bin/sh\n").unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    let ended = everup(folder.path(), &["--json", "init"]);
    let written: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!((&written["recognised"], &written["command"]), (&"a program".into(), &"exec ./shop".into()));
}

#[test]
fn what_is_there_is_not_overwritten() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("everup.toml"), "application = \"mine\"\n").unwrap();
    let ended = everup(folder.path(), &["init"]);
    assert_eq!(ended.status.code(), Some(2));
    let said = String::from_utf8(ended.stderr).unwrap().replace(folder.path().to_str().unwrap(), "[FOLDER]");
    snapbox::assert_data_eq!(
        said,
        snapbox::str![[r#"
error: [FOLDER]/everup.toml could not be written: it exists already

hint: remove it first, or change it by hand

"#]]
    );
    assert_eq!(fs::read_to_string(folder.path().join("everup.toml")).unwrap(), "application = \"mine\"\n");
}

/// Every other command would read that file.
#[test]
fn it_is_written_where_the_arguments_or_the_environment_say() {
    let folder = tempfile::tempdir().unwrap();
    assert!(everup(folder.path(), &["init", "--config", "a.toml"]).status.success());
    let mut command = Command::new(env!("CARGO_BIN_EXE_everup"));
    command.arg("init").current_dir(folder.path()).env("EVERUP_CONFIG", "b.toml");
    assert!(command.output().unwrap().status.success());
    for file in ["a.toml", "b.toml"] {
        config::load(Some(Path::new(file)), folder.path()).unwrap();
    }
    assert!(!folder.path().join("everup.toml").exists());
    let again = everup(folder.path(), &["init", "--config", "a.toml"]);
    assert_eq!(again.status.code(), Some(2), "{again:?}");
}

#[test]
fn a_mistake_in_the_file_is_shown_in_its_place_and_nothing_runs() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("everup.toml"), "[fleet]\nmin = \"two\"\n").unwrap();
    let ended = everup(folder.path(), &["scale", "3"]);
    assert_eq!(ended.status.code(), Some(2));
    snapbox::assert_data_eq!(
        String::from_utf8(ended.stderr).unwrap(),
        snapbox::str![[r#"
error: `min` in [fleet] is a text
 --> everup.toml:2:7
  |
2 | min = "two"
  |       ^^^^^ expected a whole number from 0 to 10000

error: the settings could not be read: everup.toml has 1 mistake

hint: nothing was changed; correct the file and try again

"#]]
    );
}

#[test]
fn without_a_file_the_way_to_one_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let ended = everup(folder.path(), &["--json", "status"]);
    assert_eq!(ended.status.code(), Some(2));
    let said: serde_json::Value = serde_json::from_slice(&ended.stdout).unwrap();
    assert_eq!(said["error"]["exit"], 2);
    assert!(said["error"]["hint"].as_str().unwrap().contains("everup init"), "{said}");
}

#[test]
fn where_no_fleet_was_ever_started_it_is_unreachable() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("everup.toml"), "").unwrap();
    for words in [&["status"][..], &["deploy", "2"], &["pause"], &["scale", "3"], &["down"]] {
        assert_eq!(everup(folder.path(), words).status.code(), Some(9), "{words:?}");
    }
}
