//! Keys as paths below the store, and back.

use super::object;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};

/// Why a text is no key.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "{0:?} is no key: names between `/` must not be empty, begin with `.`, end with `.body`, or be longer than 255 bytes"
)]
pub(super) struct BadKey(String);

/// The path of `key` below the store's root. Names that begin with `.` or end with `.body` are the store's own, which rules
/// out `..` as well.
pub(super) fn path(key: &str) -> Result<PathBuf, BadKey> {
    let fits = |name: &str| {
        !name.is_empty()
            && name.len() <= 255
            && !name.starts_with('.')
            && !name.ends_with(object::BODY)
            && !name.chars().any(char::is_control)
    };
    if key.is_empty() || key.split('/').all(fits) {
        Ok(PathBuf::from(key))
    } else {
        Err(BadKey(key.to_owned()))
    }
}

/// Adds the keys of all objects and archives in `folder`, whose own key is `key`. What vanishes meanwhile is not there.
pub(super) fn below(folder: &Path, key: &str, keys: &mut Vec<String>) -> io::Result<()> {
    let names = match object::names(folder) {
        Ok(names) => names,
        Err(error) if super::is_missing(&error) => return Ok(()),
        Err(error) => return Err(error),
    };
    if object::is_object(&names) {
        keys.push(key.to_owned());
        return Ok(());
    }
    for name in names.into_iter().filter(|name| !name.starts_with('.')) {
        let path = folder.join(&name);
        let key = if key.is_empty() { name } else { format!("{key}/{name}") };
        match fs::symlink_metadata(&path) {
            Ok(meta) if meta.is_dir() => below(&path, &key, keys)?,
            Ok(meta) if meta.is_file() => keys.push(key),
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
        for bad in
            ["/etc/passwd", "..", "a/../../b", "a//b", "a/", ".new/x", "a/.b", "a/b.body", "a\0b", "a\nb"]
        {
            assert_eq!(path(bad), Err(BadKey(bad.into())), "{bad:?}");
        }
        assert_eq!(path("local/instances/i-1.json"), Ok(PathBuf::from("local/instances/i-1.json")));
    }
}
