//! What of a folder is published: all of it but everup's own state and settings and the repository that it lies in.
//! The settings may hold secrets, and an app that serves its folder would show them.
//!
//! A folder that has either is published through a copy made of hard links, which costs no bytes; where links are
//! not possible, through a real copy.

use std::ffi::OsStr;
use std::fs;
use std::io;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

/// What is left out, at the root of a folder.
const LEFT_OUT: [&str; 5] = [".everup", "everup.toml", ".git", ".hg", ".svn"];

/// A folder or archive as it is published.
#[derive(Debug)]
pub struct View {
    path: PathBuf,
    copy: Option<TempDir>,
}

impl View {
    /// The view of `path`.
    ///
    /// # Errors
    /// When a copy is needed and cannot be made.
    pub fn of(path: &Path, state: &Path) -> io::Result<Self> {
        let has = |name: &&str| path.join(name).symlink_metadata().is_ok();
        if !path.is_dir() || !LEFT_OUT.iter().any(has) {
            return Ok(Self { path: path.to_owned(), copy: None });
        }
        let copy = scratch(state)?;
        copy_folder(path, &copy.path().join("view"), &|name| !LEFT_OUT.iter().any(|out| name == *out))?;
        Ok(Self { path: copy.path().join("view"), copy: Some(copy) })
    }

    /// What is published.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// A folder for the archive, removed with what is returned.
    ///
    /// # Errors
    /// When none can be made.
    pub fn work(&self) -> io::Result<TempDir> {
        match &self.copy {
            Some(copy) => TempDir::new_in(copy.path()),
            None => TempDir::new(),
        }
    }
}

/// In the state folder, which is on the file system of the folder that is published, more often than not.
fn scratch(state: &Path) -> io::Result<TempDir> {
    fs::create_dir_all(state)?;
    tempfile::Builder::new().prefix("publish-").tempdir_in(state)
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
        assert_ne!(view.path(), root.path());
        assert_eq!(fs::read(view.path().join("static/a")).unwrap(), b"a");
        assert!(!view.path().join(".everup").exists());
    }
}
