//! What of a folder is published: all of it but everup's own state and settings and the repository that it lies in.
//! The settings may hold secrets, and an app that serves its folder would show them.
//!
//! A folder that has either is published through a copy made of hard links, which costs no bytes; where links are
//! not possible, through a real copy.

use everup_host::held::{self, HeldFolder};
use std::ffi::OsStr;
use std::fs::{self, DirBuilder};
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};
use tempfile::Builder;

/// What is left out, at the root of a folder.
const LEFT_OUT: [&str; 5] = [".everup", "everup.toml", ".git", ".hg", ".svn"];

/// How the folders that are worked in begin: in the state folder, and in the machine's folder for temporary files.
const SCRATCH: &str = "publish-";
const SCRATCH_ELSEWHERE: &str = "everup-publish-";

/// A folder or archive as it is published, and the folder that is worked in for it.
#[derive(Debug)]
pub struct View {
    source: PathBuf,
    is_copied: bool,
    scratch: HeldFolder,
}

impl View {
    /// The view of `path`. What is worked in goes with it; whoever is killed leaves it to the next one.
    ///
    /// # Errors
    /// When there is no place to work in.
    pub fn of(path: &Path, state: &Path) -> io::Result<Self> {
        remove_leftovers(state);
        let has = |name: &&str| path.join(name).symlink_metadata().is_ok();
        let is_copied = path.is_dir() && LEFT_OUT.iter().any(has);
        let scratch = if is_copied {
            make_state(state)?;
            // It is on the file system of the folder that is published, more often than not.
            HeldFolder::make(state, Builder::new().prefix(SCRATCH))
        } else {
            HeldFolder::make(&std::env::temp_dir(), Builder::new().prefix(SCRATCH_ELSEWHERE))
        };
        Ok(Self { source: path.to_owned(), is_copied, scratch: scratch? })
    }

    /// What is published: the source itself, or a copy that is made now.
    ///
    /// # Errors
    /// When a copy is needed and cannot be made.
    pub fn shown(&self) -> io::Result<PathBuf> {
        if !self.is_copied {
            return Ok(self.source.clone());
        }
        let copy = self.scratch.path().join("view");
        copy_folder(&self.source, &copy, &|name| !LEFT_OUT.iter().any(|out| name == *out))?;
        Ok(copy)
    }

    /// A folder for the archive.
    ///
    /// # Errors
    /// When it cannot be made.
    pub fn work(&self) -> io::Result<PathBuf> {
        let work = self.scratch.path().join("work");
        fs::create_dir(&work)?;
        Ok(work)
    }

    /// Removes all that is worked in, also while somebody works in it, who fails for it.
    pub fn remove(&self) {
        for _ in 0..TRIES {
            match fs::remove_dir_all(self.scratch.path()) {
                // Something was put into a folder that had just been emptied.
                Err(error) if error.kind() == io::ErrorKind::DirectoryNotEmpty => {}
                // What cannot be removed now is a leftover then.
                _ => return,
            }
        }
    }
}

const TRIES: usize = 10;

/// Makes the state folder, which nobody else enters until `up` lets an app's user through.
///
/// # Errors
/// When it cannot be made.
pub fn make_state(state: &Path) -> io::Result<()> {
    DirBuilder::new().recursive(true).mode(0o700).create(state)
}

/// Removes what was worked in by those who were killed.
pub fn remove_leftovers(state: &Path) {
    let remove = |folder: &Path| fs::remove_dir_all(folder);
    held::remove_leftovers(state, |name| name.starts_with(SCRATCH), remove);
    held::remove_leftovers(&std::env::temp_dir(), |name| name.starts_with(SCRATCH_ELSEWHERE), remove);
}

fn copy_folder(from: &Path, to: &Path, takes: &dyn Fn(&OsStr) -> bool) -> io::Result<()> {
    fs::create_dir(to)?;
    for item in fs::read_dir(from)? {
        let item = item?;
        if takes(&item.file_name()) {
            copy_item(&item, &to.join(item.file_name()))?;
        }
    }
    fs::set_permissions(to, from.metadata()?.permissions())
}

fn copy_item(item: &fs::DirEntry, to: &Path) -> io::Result<()> {
    let (from, kind) = (item.path(), item.file_type()?);
    if kind.is_dir() {
        copy_folder(&from, to, &|_| true)
    } else if kind.is_symlink() {
        symlink(fs::read_link(&from)?, to)
    } else if fs::hard_link(&from, to).is_err() {
        fs::copy(&from, to).map(|_| ())
    } else {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_state_folder_is_not_published() {
        let root = tempfile::tempdir().unwrap();
        let state = root.path().join(".everup");
        fs::create_dir_all(state.join("store")).unwrap();
        fs::create_dir_all(root.path().join("static")).unwrap();
        fs::write(root.path().join("static/a"), "a").unwrap();
        let view = View::of(root.path(), &state).unwrap();
        let shown = view.shown().unwrap();
        assert_ne!(shown, root.path());
        assert_eq!(fs::read(shown.join("static/a")).unwrap(), b"a");
        assert!(!shown.join(".everup").exists());
    }
}
