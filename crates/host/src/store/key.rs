//! Keys as paths below the store, and back.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Why a text is no key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0:?} is no key: names between `/` must not be empty, begin with `.`, or be longer than 255 bytes")]
pub(super) struct BadKey(String);

/// The path of `key` below the store's root. Names that begin with `.` are the store's own, which rules out `..`
/// as well.
pub(super) fn path(key: &str) -> Result<PathBuf, BadKey> {
    let fits = |name: &str| {
        !name.is_empty() && name.len() <= 255 && !name.starts_with('.') && !name.chars().any(char::is_control)
    };
    if key.is_empty() || key.split('/').all(fits) {
        Ok(PathBuf::from(key))
    } else {
        Err(BadKey(key.to_owned()))
    }
}

/// Adds the keys of all objects in `folder`, whose own key is `key`. What vanishes meanwhile is not there.
pub(super) fn below(folder: &Path, key: &str, keys: &mut Vec<String>) -> io::Result<()> {
    let items = match fs::read_dir(folder) {
        Ok(items) => items,
        Err(error) if super::is_missing(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    for item in items {
        let item = item?;
        let Ok(name) = item.file_name().into_string() else { continue };
        if name.starts_with('.') {
            continue;
        }
        let key = if key.is_empty() { name } else { format!("{key}/{name}") };
        match item.file_type() {
            Ok(kind) if kind.is_dir() => below(&item.path(), &key, keys)?,
            Ok(kind) if kind.is_file() => keys.push(key),
            Ok(_) => {}
            Err(error) if super::is_missing(&error) => {}
            Err(error) => return Err(error),
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_cannot_leave_the_store() {
        for bad in ["/etc/passwd", "..", "a/../../b", "a//b", "a/", ".new/x", "a/.b", "a\0b", "a\nb"] {
            assert_eq!(path(bad), Err(BadKey(bad.into())), "{bad:?}");
        }
        assert_eq!(path("local/instances/i-1.json"), Ok(PathBuf::from("local/instances/i-1.json")));
    }
}
