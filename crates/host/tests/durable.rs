//! The folder store across a loss of power, which no killed process can show: what is told as written was synced before, in
//! an order in which each step needs only what is on the disk by then. Asked of the system's calls, as `strace` sees them.

#![expect(
    clippy::unwrap_used,
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a test stops at the first surprise; the role reports"
)]

use everup_core::seams::{Store, Wrote};
use everup_host::store::Folder;
use std::collections::BTreeMap;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

/// What a loss of power tells apart.
#[derive(Debug, PartialEq, Eq)]
enum Call {
    /// A file, or a folder's names, are on the disk.
    Synced(PathBuf),
    Renamed(PathBuf, PathBuf),
    /// The caller of the store was told.
    Told,
}

/// A write that is told of.
#[test]
fn role_write() {
    let Some(root) = std::env::var_os("EVERUP_TEST_STORE") else { return };
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let store = Folder::open(Path::new(&root)).unwrap();
        let Wrote::Done(etag) = store.create("local/head.json", b"1".to_vec()).await.unwrap() else {
            panic!("it was there")
        };
        println!("told");
        let wrote = store.replace("local/head.json", &etag, b"2".to_vec()).await.unwrap();
        assert!(matches!(wrote, Wrote::Done(_)));
        println!("told");
    });
}

#[test]
fn what_is_told_as_written_is_on_the_disk() {
    let may = Command::new("strace").arg("true").stderr(Stdio::null()).status();
    if !may.is_ok_and(|status| status.success()) {
        assert!(std::env::var_os("EVERUP_TEST_REQUIRE").is_none(), "strace is not here, or may not look");
        eprintln!("skipped: strace is not here, or may not look");
        return;
    }
    let home = tempfile::tempdir().unwrap();
    let root = fs::canonicalize(home.path()).unwrap().join("store");
    let calls = calls(&root, &home.path().join("calls"));
    let mut written = calls.split(|call| *call == Call::Told);
    let (created, replaced) = (written.next().unwrap(), written.next().unwrap());
    let object = root.join("local/head.json");

    let (at, new) = renamed(created, |to| to == object);
    let inside = |path: &Path| path.parent() == Some(&new);
    let files = last(&created[..at], |path| inside(path)).expect("its files are synced first");
    let names = last(&created[..at], |path| path == new).expect("then their names");
    assert!(files < names, "{created:#?}");
    assert!(
        last(&created[at..], |path| path == root.join("local")).is_some(),
        "its own name last: {created:#?}"
    );
    assert!(last(created, |path| path == root).is_some(), "the folder above it is new: {created:#?}");

    let (at, old) = renamed(replaced, |to| to.parent() == Some(&object));
    assert_eq!(old.parent(), Some(&*object));
    let body =
        last(&replaced[..at], |path| path.parent() == Some(&object)).expect("the body is synced first");
    let names = last(&replaced[..at], |path| path == object).expect("then its name");
    assert!(body < names, "{replaced:#?}");
    assert!(last(&replaced[at..], |path| path == object).is_some(), "which body it is last: {replaced:#?}");
}

/// The calls of [`role_write`] on a store at `root`, in their order.
fn calls(root: &Path, file: &Path) -> Vec<Call> {
    let mut traced = Command::new("strace");
    traced
        .args(["-f", "-y", "-s", "4096", "-e", "trace=/^(write|fsync|fdatasync|rename.*)$", "-o"])
        .arg(file);
    traced.arg(std::env::current_exe().unwrap()).args(["role_write", "--exact", "--nocapture"]);
    let output = traced.env("EVERUP_TEST_STORE", root).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let mut begun = BTreeMap::new();
    let text = fs::read_to_string(file).unwrap();
    text.lines().filter_map(|line| whole(line, &mut begun)).filter_map(|line| call(&line)).collect()
}

/// A call as one line: of one that another thread's came between, the beginning waits in `begun` for its end.
fn whole(line: &str, begun: &mut BTreeMap<String, String>) -> Option<String> {
    let (thread, line) = line.split_once(' ')?;
    let line = line.trim_start();
    if let Some((start, _)) = line.split_once(" <unfinished ...>") {
        begun.insert(thread.to_owned(), start.to_owned());
        None
    } else if let Some((_, end)) = line.split_once(" resumed>") {
        Some(begun.remove(thread)? + end)
    } else {
        Some(line.to_owned())
    }
}

/// One call, if it ended well.
fn call(line: &str) -> Option<Call> {
    let (name, rest) = line.split_once('(')?;
    let quoted = || rest.split('"').skip(1).step_by(2).map(PathBuf::from);
    let done = rest.rsplit_once('=').is_some_and(|(_, result)| result.trim() == "0");
    match name {
        "fsync" | "fdatasync" if done => {
            let path = rest.split_once('<')?.1.split_once('>')?.0;
            Some(Call::Synced(PathBuf::from(path)))
        }
        "write" if quoted().next()? == Path::new("told\\n") => Some(Call::Told),
        _ if name.starts_with("rename") && done => {
            let mut paths = quoted();
            Some(Call::Renamed(paths.next()?, paths.next()?))
        }
        _ => None,
    }
}

/// Where something is renamed to what is looked for, and what it was.
fn renamed(calls: &[Call], is: impl Fn(&Path) -> bool) -> (usize, PathBuf) {
    let found = calls.iter().enumerate().find_map(|(at, call)| match call {
        Call::Renamed(from, to) if is(to) => Some((at, from.clone())),
        _ => None,
    });
    found.unwrap_or_else(|| panic!("nothing is put in place: {calls:#?}"))
}

/// Where such a file or folder was synced last.
fn last(calls: &[Call], is: impl Fn(&Path) -> bool) -> Option<usize> {
    calls.iter().rposition(|call| matches!(call, Call::Synced(path) if is(path)))
}
