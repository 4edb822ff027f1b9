//! Who still uses a folder: a release that a process runs in, or has open, must not be removed.

use super::{Stat, all};
use std::fs;
use std::path::{Path, PathBuf};

/// A process that uses a folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Holder {
    /// "`node` (pid 42)".
    pub process: String,
    /// What it uses: its working directory, its program, or a file that it has open.
    pub uses: PathBuf,
}

/// The processes that run in `folder`, run a program in it, or have a file in it open; each once. Processes of other
/// users are only seen by root.
#[must_use]
pub fn holders(folder: &Path) -> Vec<Holder> {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let holder = |stat: Stat| {
        let uses = links(stat.pid).find(|path| path.starts_with(&folder))?;
        Some(Holder { process: stat.to_string(), uses })
    };
    all().into_iter().filter_map(holder).collect()
}

/// The processes that have `file` open.
#[must_use]
pub fn opened(file: &Path) -> Vec<Stat> {
    let file = file.canonicalize().unwrap_or_else(|_| file.to_owned());
    let has = |stat: &Stat| links(stat.pid).any(|link| link == file);
    all().into_iter().filter(has).collect()
}

fn links(pid: u32) -> impl Iterator<Item = PathBuf> {
    let own = ["cwd", "exe", "root"].map(|name| PathBuf::from(format!("/proc/{pid}/{name}")));
    let open =
        fs::read_dir(format!("/proc/{pid}/fd")).into_iter().flatten().flatten().map(|entry| entry.path());
    own.into_iter().chain(open).filter_map(|link| fs::read_link(link).ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_process_that_runs_in_a_folder_holds_it() {
        let folder = tempfile::tempdir().unwrap();
        assert_eq!(holders(folder.path()), []);
        let mut child = std::process::Command::new("sh")
            .args(["-c", "read x"])
            .current_dir(folder.path())
            .stdin(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        let found = holders(folder.path());
        assert_eq!(found.len(), 1);
        assert!(found[0].process.contains(&child.id().to_string()), "{found:?}");
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(holders(folder.path()), []);
    }
}
