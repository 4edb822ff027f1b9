//! A disk of a test's own, small enough to be filled.

use super::{Fleet, is_root, until};
use std::fs::{self, File};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use tempfile::NamedTempFile;

/// Set in the process that has one: where it is.
const INSIDE: &str = "EVERUP_TEST_SMALL_DISK";

/// Where everything of the test is.
#[derive(Debug)]
pub(crate) struct Disk(PathBuf);

/// Not a byte is left, until this is dropped.
#[derive(Debug)]
pub(crate) struct Full {
    _filler: NamedTempFile,
}

impl Disk {
    /// Runs the test `name` again where every folder is made on a small disk; in that run, the disk. Nothing where nobody
    /// may mount one.
    #[track_caller]
    pub(crate) fn small(name: &str) -> Option<Self> {
        if let Some(folder) = std::env::var_os(INSIDE) {
            return Some(Self(folder.into()));
        }
        if !is_root() {
            return None;
        }
        let folder = tempfile::tempdir().unwrap();
        let mount = "mount -t tmpfs -o size=64m,mode=755 none \"$0\" && exec \"$@\"";
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", mount]).arg(folder.path());
        command.arg(std::env::current_exe().unwrap()).args(["--exact", name, "--nocapture"]);
        let status = command.env(INSIDE, folder.path()).env("TMPDIR", folder.path()).status().unwrap();
        assert!(status.success(), "{name} failed on a small disk: {status}");
        None
    }

    /// Fills it, so that not a line more has room in any log of the fleet.
    #[track_caller]
    pub(crate) fn fill(&self, fleet: &Fleet) -> Full {
        let mut filler = NamedTempFile::new_in(&self.0).unwrap();
        until("the disk to be full", || {
            take_all(filler.as_file_mut());
            // The rest of its last page is a log's own.
            let roomy: Vec<_> = fleet.logs().filter(|log| has_room(log)).collect();
            roomy.iter().for_each(|log| File::options().write(true).open(log).unwrap().set_len(0).unwrap());
            roomy.is_empty().then_some(())
        });
        Full { _filler: filler }
    }
}

fn take_all(filler: &mut File) {
    let page = [1; 4_096];
    let refused = std::iter::repeat_with(|| filler.write_all(&page)).find_map(Result::err).unwrap();
    assert_eq!(refused.kind(), ErrorKind::StorageFull, "{refused}");
}

fn has_room(log: &Path) -> bool {
    fs::metadata(log).is_ok_and(|log| log.blocks() > 0)
}
