//! A disk without a byte left: what was there stays whole, the app goes on, and its end is not lost.

use crate::world::*;
use everup_core::ids::{Fence, Rev, Term};
use everup_core::instance::{Memory, Slot};
use everup_core::seams::{Journal, Runtime};
use everup_core::time::Millis;
use everup_host::journal::{FileJournal, MEMORY_FORM};
use std::fs::File;
use std::io::Write;
use std::path::Path;
use std::process::Command;

/// Set in the process that has a small file system of its own.
const INSIDE: &str = "EVERUP_TEST_SMALL_DISK";

/// Runs the test `name` again where a file system of 1 MB is mounted, and says whether this is that run. Where
/// nobody may mount, there is nothing to test.
fn with_small_disk(name: &str) -> Option<std::path::PathBuf> {
    if let Ok(folder) = std::env::var(INSIDE) {
        return Some(folder.into());
    }
    let folder = tempfile::tempdir().unwrap();
    let mount = "mount -t tmpfs -o size=1m,mode=755 none \"$0\" || exit 99; exec \"$@\"";
    let status = Command::new("unshare")
        .args(["--user", "--map-root-user", "--mount", "sh", "-c", mount])
        .arg(folder.path())
        .arg(std::env::current_exe().unwrap())
        .args(["--exact", name, "--nocapture"])
        .env(INSIDE, folder.path())
        .status();
    let code = status.ok().and_then(|status| status.code());
    assert!(matches!(code, Some(0 | 99) | None), "{name} failed on the small disk: {code:?}");
    None
}

/// Fills the file system of `folder`; what is returned frees it again.
fn fill(folder: &Path) -> tempfile::TempPath {
    let mut filler = tempfile::NamedTempFile::new_in(folder).unwrap();
    while filler.write_all(&[0; 512]).is_ok() {}
    filler.into_temp_path()
}

fn memory(term: u64) -> Memory {
    Memory { fence: Fence { term: Term(term), rev: Rev(1) }, form: MEMORY_FORM, ..Memory::default() }
}

#[tokio::test]
async fn a_journal_survives_a_full_disk_and_says_what_it_needed() {
    let Some(disk) = with_small_disk("full_disk::a_journal_survives_a_full_disk_and_says_what_it_needed")
    else {
        return;
    };
    let journal = FileJournal::new(disk.join("journal.json"));
    journal.save(&memory(7)).await.unwrap();
    let filler = fill(&disk);
    let problem = journal.save(&memory(8)).await.unwrap_err();
    for word in ["journal.json", "bytes", "tmpfs at", "free space"] {
        assert!(problem.reason.contains(word), "no {word:?} in {problem}");
    }
    assert_eq!(journal.load().await.unwrap(), memory(7));
    drop(filler);
    journal.save(&memory(8)).await.unwrap();
    assert_eq!(journal.load().await.unwrap(), memory(8));
}

#[tokio::test]
async fn an_app_goes_on_and_its_end_is_told() {
    let Some(disk) = with_small_disk("full_disk::an_app_goes_on_and_its_end_is_told") else { return };
    let mut world = World::new(
        "echo ready; read x < $GO; i=0; while [ $i -lt 20000 ]; do i=$((i+1)); echo line $i; done; exit 9",
    );
    let go = world.setup.folder.with_file_name("go");
    assert!(Command::new("mkfifo").arg(&go).status().unwrap().success());
    world.setup.app.env.insert("GO".to_owned(), go.display().to_string());
    world.setup.folder = disk.join("instance");
    let runtime = world.runtime();
    let running = world.start(&runtime).await;
    let log = world.setup.log_of(Slot::A);
    until(|| std::fs::read_to_string(&log).ok().filter(|text| text == "ready\n")).await;
    let filler = fill(&disk);
    File::options().write(true).open(&go).unwrap().write_all(b"go\n").unwrap();
    let exit = soon(runtime.exited(&running)).await;
    assert_eq!((exit.how.as_str(), exit.log.last().unwrap().as_str()), ("exit status 9", "line 20000"));
    // The room for its last words is free again.
    let more = fill(&disk);
    let problem = runtime.start(&release("1"), Slot::A, &start_id()).await.unwrap_err();
    assert!(problem.reason.contains("free space"), "{problem}");
    drop((filler, more));
    let again = world.start(&runtime).await;
    runtime.stop(&again, Millis::ZERO).await;
}
