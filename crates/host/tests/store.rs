//! The folder store: the conformance suite, and what only a folder can get wrong: processes that race, are killed
//! in the middle, stopped; disks that refuse.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    reason = "a test stops at the first surprise; roles report"
)]

use everup_core::seams::{Got, Store, Wrote};
use everup_host::store::{Folder, OpenError};
use everup_release::shelf::Shelf;
use everup_sim::conformance;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// This test binary again, running `role` (a test that does nothing unless it is told to) on `store`.
fn spawn(role: &str, store: &Path, worker: u64) -> Child {
    Command::new(std::env::current_exe().unwrap())
        .args([role, "--exact", "--nocapture"])
        .env("EVERUP_TEST_STORE", store)
        .env("EVERUP_TEST_WORKER", worker.to_string())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap()
}

/// Who this process is, if it was spawned by [`spawn`].
fn spawned() -> Option<(Folder, u64)> {
    let store = std::env::var_os("EVERUP_TEST_STORE")?;
    let worker = std::env::var("EVERUP_TEST_WORKER").unwrap().parse().unwrap();
    Some((Folder::open(Path::new(&store)).unwrap(), worker))
}

#[test]
fn it_keeps_the_contract_of_every_store() {
    let home = tempfile::tempdir().unwrap();
    let store = Folder::open(&home.path().join("store")).unwrap();
    run(conformance::all(&store, "suite/"));
}

/// Whoever takes it for an empty one would begin anew.
#[test]
fn a_store_that_is_gone_is_not_an_empty_one() {
    let home = tempfile::tempdir().unwrap();
    let root = home.path().join("store");
    let store = Folder::open(&root).unwrap();
    run(store.create("local/head.json", b"{}".to_vec())).unwrap();
    fs::rename(&root, home.path().join("elsewhere")).unwrap();
    let said = || {
        let get = run(store.get("local/head.json", None)).unwrap_err().to_string();
        let list = run(store.list("local/")).unwrap_err().to_string();
        let size = run(store.size("local/head.json")).unwrap_err().to_string();
        [get, list, size].join("\n")
    };
    assert_eq!(said().matches("is not there any more").count(), 3, "{}", said());
    fs::write(&root, "").unwrap();
    assert_eq!(said().matches("is a file, not a folder").count(), 3, "{}", said());
    fs::remove_file(&root).unwrap();
    fs::create_dir(&root).unwrap();
    assert_eq!(said().matches("is its disk mounted?").count(), 3, "{}", said());
    // Whoever knows that there was one makes none.
    assert!(matches!(Folder::existing(&root), Err(OpenError::Gone { .. })));
    assert_eq!(fs::read_dir(&root).unwrap().count(), 0);
}

#[test]
fn role_increment() {
    let Some((store, worker)) = spawned() else { return };
    run(conformance::increment(&store, "local/number", worker, 10));
}

#[test]
fn processes_that_race_lose_no_write() {
    let home = tempfile::tempdir().unwrap();
    let store = Folder::open(home.path()).unwrap();
    let children: Vec<Child> = (0..5).map(|worker| spawn("role_increment", home.path(), worker)).collect();
    for child in children {
        assert!(child.wait_with_output().unwrap().status.success());
    }
    assert_eq!(run(conformance::sum(&store, "local/number")), 50);
}

const LARGE: usize = 400_000;

#[test]
fn role_write_for_ever() {
    let Some((store, _)) = spawned() else { return };
    run(async {
        for round in 0_u64.. {
            let body = format!("{round:020}").repeat(LARGE / 20).into_bytes();
            let wrote = match store.get("local/head.json", None).await.unwrap() {
                Got::Found { etag, .. } => store.replace("local/head.json", &etag, body).await,
                _ => store.create("local/head.json", body).await,
            };
            assert!(matches!(wrote, Ok(Wrote::Done(_))), "{wrote:?}");
            println!("written");
        }
    });
}

#[test]
fn a_writer_that_is_killed_leaves_a_whole_object() {
    let home = tempfile::tempdir().unwrap();
    for round in 0..10 {
        let mut child = spawn("role_write_for_ever", home.path(), 0);
        let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
        // Killed at another point of the write each time: the next one is going on by then.
        assert!(
            lines.map_while(Result::ok).filter(|line| line.contains("written")).nth(1 + round % 3).is_some()
        );
        child.kill().unwrap();
        child.wait().unwrap();
        let store = Folder::open(home.path()).unwrap();
        let Got::Found { body, .. } = run(store.get("local/head.json", None)).unwrap() else {
            panic!("gone")
        };
        assert_eq!(body.len(), LARGE);
        assert_eq!(body[..20].repeat(LARGE / 20), body, "two writes in one object");
        let left: Vec<_> = fs::read_dir(home.path().join(".new")).unwrap().collect();
        assert!(left.is_empty(), "what the dead writer left is removed at the next start: {left:?}");
    }
}

#[test]
fn a_write_that_goes_on_is_not_taken_for_a_leftover() {
    let home = tempfile::tempdir().unwrap();
    let mut child = spawn("role_write_for_ever", home.path(), 0);
    let lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    for line in lines.map_while(Result::ok).filter(|line| line.contains("written")).take(30) {
        assert!(line.contains("written"));
        for _ in 0..5 {
            Folder::open(home.path()).unwrap();
        }
    }
    assert_eq!(child.try_wait().unwrap(), None, "the writer met no error");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[test]
fn a_store_that_is_not_writable_is_refused_with_its_path() {
    let home = tempfile::tempdir().unwrap();
    // A folder below a file: refused for every user, root too.
    fs::write(home.path().join("file"), "").unwrap();
    let error = Folder::open(&home.path().join("file/store")).unwrap_err();
    assert!(matches!(error, OpenError::NotWritable { .. }));
    let text = error.to_string();
    assert!(text.contains("file/store") && text.contains("[store] folder"), "{text}");
}

#[test]
fn a_write_that_the_disk_refuses_leaves_the_old_object() {
    let home = tempfile::tempdir().unwrap();
    let store = Folder::open(home.path()).unwrap();
    run(async {
        let Wrote::Done(etag) = store.create("local/head.json", b"old".into()).await.unwrap() else {
            panic!()
        };
        fs::remove_dir_all(home.path().join(".new")).unwrap();
        let error = store.replace("local/head.json", &etag, b"new".into()).await.unwrap_err();
        assert_eq!(error.wanted, "replace local/head.json");
        assert!(error.happened.contains(home.path().to_str().unwrap()), "{error}");
        let Ok(Got::Found { body, .. }) = store.get("local/head.json", None).await else { panic!() };
        assert_eq!(body, b"old");
    });
}

#[test]
fn keys_cannot_leave_the_store() {
    let home = tempfile::tempdir().unwrap();
    let store = Folder::open(&home.path().join("store")).unwrap();
    run(async {
        for key in ["../escaped", "a/../../escaped", "/escaped", ".new/x"] {
            let error = store.create(key, b"x".into()).await.unwrap_err();
            assert!(error.happened.contains("is no key"), "{error}");
        }
    });
    assert!(!home.path().join("escaped").exists());
}

#[test]
fn objects_are_for_their_owner_alone() {
    let home = tempfile::tempdir().unwrap();
    let store = Folder::open(&home.path().join("store")).unwrap();
    run(store.create("local/head.json", b"x".into())).unwrap();
    let mode = |path: &str| fs::metadata(home.path().join(path)).unwrap().permissions().mode() & 0o777;
    assert_eq!((mode("store"), mode("store/local"), mode("store/local/head.json")), (0o700, 0o700, 0o600));
}

#[test]
fn archives_are_stored_read_in_parts_and_removed() {
    let home = tempfile::tempdir().unwrap();
    let store = Folder::open(&home.path().join("store")).unwrap();
    let from = home.path().join("archive");
    fs::write(&from, b"0123456789").unwrap();
    run(async {
        let key = "releases/7/abc.zip";
        assert_eq!(store.size(key).await, Ok(None));
        assert_eq!(store.read(key, 0, 4).await, Ok(None));
        store.put(key, &from).await.unwrap();
        assert_eq!(store.size(key).await, Ok(Some(10)));
        assert_eq!(store.read(key, 0, 4).await, Ok(Some(b"0123".into())));
        assert_eq!(store.read(key, 8, 4).await, Ok(Some(b"89".into())));
        assert_eq!(store.read(key, 10, 4).await, Ok(Some(vec![])));
        assert_eq!(store.list("releases/").await, Ok(vec![key.to_owned()]));
        store.delete(key).await.unwrap();
        store.delete(key).await.unwrap();
        assert_eq!(store.size(key).await, Ok(None));
        store.put(key, &from).await.unwrap();
        assert_eq!(store.size(key).await, Ok(Some(10)), "its folder went with it, and comes back");
    });
}
