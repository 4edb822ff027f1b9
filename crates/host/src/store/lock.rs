//! The locks that writers take between comparing and renaming: one of [`COUNT`] files, by the key's hash.
//!
//! A lock file is never removed and holds its last owner's process id, for the message when it does not let go.

use everup_release::digest_of;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

/// The folder of the lock files.
pub(super) const LOCKS: &str = ".locks";
const COUNT: u8 = 16;

/// A lock; ends when dropped, or with the process.
pub(super) struct Locked(#[expect(dead_code, reason = "holds the lock")] File);

/// Waits for the lock of the object at `path`.
pub(super) fn lock(root: &Path, path: &Path) -> io::Result<Locked> {
    let file = File::options().create(true).truncate(false).write(true).open(file(root, path))?;
    file.lock()?;
    // For people: neither synced nor relied upon.
    let _ = file.write_all_at(format!("{:<10}", std::process::id()).as_bytes(), 0);
    Ok(Locked(file))
}

fn file(root: &Path, path: &Path) -> PathBuf {
    let digest = digest_of(path.as_os_str().as_encoded_bytes());
    let number = u8::from_str_radix(&digest.as_str()[..2], 16).unwrap_or(0) % COUNT;
    root.join(LOCKS).join(format!("{number:02}"))
}

/// What to say when the lock did not come in time.
pub(super) fn explain_wait(root: &Path, path: &Path) -> String {
    let file = file(root, path);
    let owner = fs::read_to_string(&file).unwrap_or_default();
    let owner = owner.trim();
    let state = fs::read_to_string(format!("/proc/{owner}/stat")).unwrap_or_default();
    let state = state.rsplit_once(") ").map_or("gone", |(_, rest)| match rest.as_bytes().first() {
        Some(b'T' | b't') => "stopped; continue it with SIGCONT or end it",
        Some(b'D') => "waiting for the disk",
        _ => "running",
    });
    let within = super::LOCK_WAIT.as_secs();
    format!(
        "no answer from the disk or the lock {file:?} within {within} s; process {owner} had it last ({state})"
    )
}
