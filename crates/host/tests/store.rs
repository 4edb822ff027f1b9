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
use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap().block_on(work)
}

/// This test binary again, running `role` (a test that does nothing unless it is told to) on `store`.
fn spawn(role: &str, store: &Path, worker: u64) -> Child {
    let mut command = Command::new(exe());
    command.args([role, "--exact", "--nocapture"]).stdout(Stdio::piped());
    as_worker(&mut command, store, worker).spawn().unwrap()
}

fn exe() -> PathBuf {
    std::env::current_exe().unwrap()
}

fn as_worker<'a>(command: &'a mut Command, store: &Path, worker: u64) -> &'a mut Command {
    command.env("EVERUP_TEST_STORE", store).env("EVERUP_TEST_WORKER", worker.to_string())
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
    let files = |folder: &str| fs::read_dir(home.path().join(folder)).unwrap().count();
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
        let Got::Found { body, etag } = run(store.get("local/head.json", None)).unwrap() else {
            panic!("gone")
        };
        assert_eq!(body.len(), LARGE);
        assert_eq!(body[..20].repeat(LARGE / 20), body, "two writes in one object");
        assert_eq!(files(".new"), 0, "what the dead writer left is removed at the next start");
        assert!(matches!(run(store.replace("local/head.json", &etag, body)), Ok(Wrote::Done(_))));
        assert_eq!(files("local/head.json"), 2, "and with the next write");
    }
}

#[test]
fn role_count_for_ever() {
    let Some((store, worker)) = spawned() else { return };
    for round in 0.. {
        run(conformance::increment(&store, "local/number", worker + round, 1));
        println!("counted");
    }
}

/// Case C18, of the store alone: whoever sleeps, wherever it was, keeps nobody out, and writes nothing over what the others
/// wrote meanwhile.
#[test]
fn a_writer_that_is_stopped_keeps_nobody_out() {
    let home = tempfile::tempdir().unwrap();
    let store = Folder::open(home.path()).unwrap();
    let mut child = spawn("role_count_for_ever", home.path(), 1_000);
    let pid = Pid::from_child(&child);
    let (mut counted, mut own) = (0, 0);
    let mut lines = std::io::BufRead::lines(std::io::BufReader::new(child.stdout.take().unwrap()));
    for round in 0..100 {
        counted +=
            lines.by_ref().map_while(Result::ok).filter(|line| line.contains("counted")).take(1).count();
        // At another point of a write each time, which takes some tens of microseconds and three syncs.
        for _ in 0..round * 50 {
            std::hint::spin_loop();
        }
        kill_process(pid, Signal::STOP).unwrap();
        run(conformance::increment(&store, "local/number", round, 2));
        own += 2;
        kill_process(pid, Signal::CONT).unwrap();
    }
    child.kill().unwrap();
    child.wait().unwrap();
    counted += lines.map_while(Result::ok).filter(|line| line.contains("counted")).count();
    let sum = run(conformance::sum(&store, "local/number"));
    // The last one may have been counted and not told.
    assert!((own + counted..=own + counted + 1).contains(&(sum as usize)), "{own} + {counted}, not {sum}");
    assert!(counted >= 100);
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
fn role_be_refused() {
    let Some((store, _)) = spawned() else { return };
    run(async {
        let Ok(Got::Found { etag, .. }) = store.get("local/head.json", None).await else { panic!() };
        let error = store.replace("local/head.json", &etag, b"new".into()).await.unwrap_err();
        println!("refused: {error}");
        let error = store.create("local/other.json", b"new".into()).await.unwrap_err();
        println!("refused: {error}");
    });
}

#[test]
fn a_write_that_the_disk_refuses_leaves_the_old_object() {
    let home = tempfile::tempdir().unwrap();
    let store = Folder::open(home.path()).unwrap();
    let Wrote::Done(etag) = run(store.create("local/head.json", b"old".into())).unwrap() else { panic!() };
    // A process that may not write a single byte to a file, as on a full disk.
    let role = format!("ulimit -f 0; trap '' XFSZ; exec {:?} role_be_refused --exact --nocapture", exe());
    let output = as_worker(Command::new("sh").args(["-c", &role]), home.path(), 0).output().unwrap();
    let said = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{output:?}");
    for what in ["replace local/head.json", "create local/other.json"] {
        assert!(said.contains(&format!("refused: {what}: File too large")), "{said}");
    }
    assert_eq!(said.matches(home.path().to_str().unwrap()).count(), 2, "{said}");
    assert_eq!(run(store.list("")), Ok(vec!["local/head.json".into()]));
    assert_eq!(run(store.get("local/head.json", None)), Ok(Got::Found { etag, body: b"old".into() }));
    assert_eq!(fs::read_dir(home.path().join("local/head.json")).unwrap().count(), 2, "nothing is left");
}

/// A file where an object should be is none, and not as if nothing were there.
#[test]
fn a_file_is_no_object() {
    let home = tempfile::tempdir().unwrap();
    let store = Folder::open(home.path()).unwrap();
    fs::create_dir(home.path().join("local")).unwrap();
    fs::write(home.path().join("local/head.json"), "{}").unwrap();
    let said = [
        run(store.get("local/head.json", None)).unwrap_err().to_string(),
        run(store.create("local/head.json", b"{}".into())).unwrap_err().to_string(),
    ];
    assert!(said.iter().all(|said| said.contains("is a file, not an object of this store")), "{said:?}");
}

/// What is removed is gone whole, for who reads, lists, replaces and creates.
#[test]
fn a_removed_object_can_be_created_anew_and_not_replaced() {
    let home = tempfile::tempdir().unwrap();
    let store = Folder::open(home.path()).unwrap();
    run(async {
        let key = "releases/7/manifest.json";
        let Ok(Wrote::Done(first)) = store.create(key, b"1".into()).await else { panic!() };
        store.delete("releases").await.unwrap();
        store.delete("releases/7").await.unwrap();
        assert_eq!(store.list("").await, Ok(vec![key.to_owned()]), "a folder of objects is no object");
        store.delete(key).await.unwrap();
        store.delete(key).await.unwrap();
        assert_eq!((store.get(key, None).await, store.list("").await), (Ok(Got::Missing), Ok(vec![])));
        assert_eq!(store.replace(key, &first, b"2".into()).await, Ok(Wrote::Lost));
        let Ok(Wrote::Done(second)) = store.create(key, b"1".into()).await else { panic!() };
        assert_ne!(first, second, "an etag never comes back, not even with the same bytes");
        assert_eq!(store.replace(key, &first, b"2".into()).await, Ok(Wrote::Lost));
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
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let at = |path: &str| home.path().join(path);
    let object = at("store/local/head.json");
    assert_eq!([at("store"), at("store/local"), object.clone()].map(|folder| mode(&folder)), [0o700; 3]);
    let bodies: Vec<_> = fs::read_dir(object).unwrap().map(|item| item.unwrap().path()).collect();
    let bodies: Vec<_> = bodies.iter().filter(|path| path.extension().is_some()).collect();
    assert_eq!(bodies.iter().map(|body| mode(body)).collect::<Vec<_>>(), [0o600]);
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
