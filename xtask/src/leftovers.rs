//! What the suites started and did not end. The product's processes outlive their parents by design, so a test that
//! fails leaves some; each has the run's own folder in its environment, and by that, and only by that, it is known.

use rustix::process::{Pid, Signal, kill_process};
use std::fs;
use std::path::{Path, PathBuf};

/// A folder for what this run writes, short enough that a socket's path fits below it; its name is this run's mark.
pub(crate) struct Scratch {
    folder: PathBuf,
}

impl Scratch {
    /// Makes it.
    pub(crate) fn new() -> Result<Self, String> {
        let folder = std::env::temp_dir().join(format!("everup-{}", std::process::id()));
        fs::create_dir_all(&folder).map_err(|error| format!("{}: {error}", folder.display()))?;
        Ok(Self { folder })
    }

    /// Where it is.
    pub(crate) fn path(&self) -> &Path {
        &self.folder
    }

    /// Ends the processes of this run, and says what they were.
    pub(crate) fn sweep(&self) -> Vec<String> {
        let mark = self.folder.as_os_str().as_encoded_bytes();
        let mut found = Vec::new();
        for pid in processes() {
            if holds(pid, "environ", mark) || holds(pid, "cmdline", mark) {
                found.push(format!("{pid} {}", words(pid)));
                let _ = Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::KILL));
            }
        }
        found
    }
}

impl Drop for Scratch {
    fn drop(&mut self) {
        self.sweep();
        let _ = fs::remove_dir_all(&self.folder);
    }
}

fn processes() -> Vec<i32> {
    let this = i32::try_from(std::process::id()).unwrap_or(0);
    let names = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    names.filter_map(|name| name.file_name().to_str()?.parse().ok()).filter(|pid| *pid != this).collect()
}

fn holds(pid: i32, file: &str, mark: &[u8]) -> bool {
    let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
    text.windows(mark.len()).any(|window| window == mark)
}

fn words(pid: i32) -> String {
    let text = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    String::from_utf8_lossy(&text).replace('\0', " ").trim_end().to_owned()
}
