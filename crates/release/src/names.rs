//! Which names, links and modes a release may have. One judge for folders and archives that are published and for
//! manifests that are unpacked; its verdict does not depend on the order of the entries.

use std::collections::BTreeMap;
use std::fmt;
use unicode_normalization::UnicodeNormalization;

/// The type bits of a symbolic link in [`everup_core::release::File::mode`].
pub const LINK: u32 = 0o120_000;
/// The type bits of an (empty) folder in [`everup_core::release::File::mode`].
pub const FOLDER: u32 = 0o040_000;
const TYPE: u32 = 0o170_000;
const REGULAR: u32 = 0o100_000;

const LONGEST_PATH: usize = 2_048;
const LONGEST_NAME: usize = 255;

/// How much a release may be.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// The most files, links and empty folders.
    pub entries: usize,
    /// The most unpacked bytes.
    pub bytes: u64,
}

impl Default for Limits {
    /// 100,000 entries (a manifest of some 20 MB) and 16 GiB.
    fn default() -> Self {
        Self { entries: 100_000, bytes: 16 << 30 }
    }
}

/// What an entry is.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A regular file.
    File,
    /// A symbolic link.
    Link,
    /// A folder.
    Folder,
}

impl Kind {
    /// What the type bits of `mode` say; a mode without any is a regular file's.
    ///
    /// # Errors
    /// When it is a device, a pipe or a socket, or has bits that no release may set.
    pub const fn of_mode(mode: u32) -> Result<Self, Why> {
        if mode & !(TYPE | 0o777) != 0 {
            return Err(Why::Mode(mode));
        }
        match mode & TYPE {
            0 | REGULAR => Ok(Self::File),
            LINK => Ok(Self::Link),
            FOLDER => Ok(Self::Folder),
            _ => Err(Why::Special),
        }
    }
}

/// Why an entry is refused.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Why {
    /// No name at all.
    #[error("has an empty name")]
    Empty,
    /// From the root of the file system.
    #[error("has an absolute path; paths in a release begin at its own folder")]
    Absolute,
    /// Climbs out, or is written in a roundabout way.
    #[error("has `{0}` in its path; write the path without it")]
    Dots(&'static str),
    /// A name that no terminal shows as it is.
    #[error("has a control character in its name; rename it")]
    Control,
    /// Made by a tool that writes `\` between folders.
    #[error("has a backslash in its name: the archive was made with a tool that writes Windows paths")]
    Backslash,
    /// Longer than file systems take.
    #[error("has a path longer than 2,048 or a name longer than 255 bytes")]
    TooLong,
    /// Bytes that are no text.
    #[error("has a name that is not UTF-8; rename it, or tell the archiver to write UTF-8 names")]
    NotUtf8,
    /// Twice.
    #[error("is there twice")]
    Duplicate,
    /// Two names that one file system in two takes for the same.
    #[error("clashes with {0:?}: the names differ only in case or in how accents are encoded")]
    Clash(String),
    /// A path through something that is no folder.
    #[error("lies below {0:?}, which is not a folder")]
    Below(String),
    /// A link to somewhere else on the machine.
    #[error("is a link to {0:?}, outside of the release; a link may only lead to something inside of it")]
    Leaves(String),
    /// A link whose `..` is not at its beginning.
    #[error("is a link to {0:?}; `..` may stand only at the beginning of a link")]
    Roundabout(String),
    /// A hard link in a tar whose target is not an earlier file of it.
    #[error("is a hard link to {0:?}, which is not an earlier file of the archive")]
    HardLink(String),
    /// Neither file, link nor folder.
    #[error("is a device, pipe or socket; a release holds only files, links and folders")]
    Special,
    /// Permission bits that are not taken.
    #[error("has mode {0:o}; only the nine permission bits are allowed")]
    Mode(u32),
    /// More bytes than declared.
    #[error("holds more than the {0} bytes that are declared for it")]
    Larger(u64),
    /// A size that its packed bytes cannot have.
    #[error("declares {0} bytes, more than {1} packed bytes can hold")]
    Bomb(u64, u64),
    /// Bytes that belong to two entries.
    #[error("shares bytes of the archive with another entry, or lies outside of it")]
    Overlap,
    /// Encrypted.
    #[error("is encrypted; publish the archive without a password")]
    Encrypted,
    /// Other bytes than the manifest says.
    #[error("has other bytes than its manifest says ({0})")]
    Differs(&'static str),
    /// Too many.
    #[error("is one too many: a release has at most {0} entries")]
    TooMany(usize),
    /// Too much.
    #[error("is too much: a release has at most {0} bytes unpacked")]
    TooMuch(u64),
    /// It changed under the publisher's hands.
    #[error("changed while it was read; publish when the build has ended")]
    Changed,
}

/// An entry that is refused, by name.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{entry:?} {why}")]
pub struct Refused {
    /// Its name, as far as it can be shown.
    pub entry: String,
    /// The reason.
    pub why: Why,
}

impl Refused {
    /// `entry` is refused because of `why`.
    pub fn new(entry: impl fmt::Display, why: Why) -> Self {
        Self { entry: entry.to_string(), why }
    }
}

/// Collects the entries of one release and judges them as a whole.
#[derive(Debug, Default)]
pub struct Names {
    entries: BTreeMap<String, Kind>,
    limit: usize,
}

impl Names {
    /// No entry yet.
    #[must_use]
    pub const fn new(limits: Limits) -> Self {
        Self { entries: BTreeMap::new(), limit: limits.entries }
    }

    /// Takes one more entry.
    ///
    /// # Errors
    /// When its name alone is reason to refuse it, it is there already, or there are too many. A folder may be
    /// named twice.
    pub fn add(&mut self, path: &str, kind: Kind) -> Result<(), Refused> {
        let refuse = |why| Refused::new(path, why);
        well_formed(path).map_err(refuse)?;
        if self.entries.len() >= self.limit {
            return Err(refuse(Why::TooMany(self.limit)));
        }
        match self.entries.insert(path.to_owned(), kind) {
            Some(before) if before != Kind::Folder || kind != Kind::Folder => Err(refuse(Why::Duplicate)),
            _ => Ok(()),
        }
    }

    /// Judges how the entries stand to each other.
    ///
    /// # Errors
    /// When one lies below another that is no folder, or two differ only in case or normal form.
    pub fn judge(&self) -> Result<(), Refused> {
        let mut folded = BTreeMap::new();
        for path in self.entries.keys() {
            for part in parts_of(path) {
                if part != path && self.entries.get(part).is_some_and(|k| *k != Kind::Folder) {
                    return Err(Refused::new(path, Why::Below(part.to_owned())));
                }
                match folded.insert(fold(part), part) {
                    Some(other) if other != part => {
                        return Err(Refused::new(path, Why::Clash(other.to_owned())));
                    }
                    _ => {}
                }
            }
        }
        Ok(())
    }
}

/// `path` and every folder above it, the highest first.
fn parts_of(path: &str) -> impl Iterator<Item = &str> {
    path.match_indices('/').map(|(at, _)| &path[..at]).chain([path])
}

/// What file systems that know no case, or store names in a normal form, take `path` for.
fn fold(path: &str) -> String {
    if path.is_ascii() {
        return path.to_ascii_lowercase();
    }
    let normal: String = path.nfc().collect();
    let folded = unicase::UniCase::unicode(normal).to_folded_case();
    folded.nfc().collect()
}

fn well_formed(path: &str) -> Result<(), Why> {
    if path.is_empty() {
        return Err(Why::Empty);
    }
    if path.starts_with('/') {
        return Err(Why::Absolute);
    }
    if path.len() > LONGEST_PATH {
        return Err(Why::TooLong);
    }
    if path.chars().any(char::is_control) {
        return Err(Why::Control);
    }
    path.split('/').try_for_each(|name| match name {
        "" => Err(Why::Dots("//")),
        "." => Err(Why::Dots(".")),
        ".." => Err(Why::Dots("..")),
        name if name.len() > LONGEST_NAME => Err(Why::TooLong),
        _ => Ok(()),
    })
}

/// Judges where the link at `path` leads.
///
/// `..` is taken only at the beginning: what comes after a name could lie behind another link, where one step up
/// leads somewhere else than the text says. So what the text says is true, and it says that it stays inside.
///
/// # Errors
/// When it is absolute, leaves the release, or has `..` after a name.
pub fn link(path: &str, target: &str) -> Result<(), Refused> {
    let refuse = |why: fn(String) -> Why| Err(Refused::new(path, why(target.to_owned())));
    if target.is_empty() || target.starts_with('/') || target.len() > LONGEST_PATH {
        return refuse(Why::Leaves);
    }
    if target.chars().any(char::is_control) {
        return Err(Refused::new(path, Why::Control));
    }
    let steps = || target.split('/').filter(|s| !s.is_empty() && *s != ".");
    let up = steps().take_while(|s| *s == "..").count();
    if up > path.matches('/').count() {
        return refuse(Why::Leaves);
    }
    if steps().skip(up).any(|s| s == "..") {
        return refuse(Why::Roundabout);
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn judged(entries: &[(&str, Kind)]) -> Result<(), Refused> {
        let mut names = Names::new(Limits { entries: 5, bytes: 0 });
        entries.iter().try_for_each(|(path, kind)| names.add(path, *kind))?;
        names.judge()
    }

    #[test]
    fn names_that_leave_or_confuse_are_refused() {
        let long = "x".repeat(256);
        for (path, why) in [
            ("", Why::Empty),
            ("/etc/passwd", Why::Absolute),
            ("../x", Why::Dots("..")),
            ("a/../x", Why::Dots("..")),
            ("a/./x", Why::Dots(".")),
            ("a//x", Why::Dots("//")),
            ("a/", Why::Dots("//")),
            ("a\0b", Why::Control),
            ("a\nb", Why::Control),
            (&long, Why::TooLong),
        ] {
            assert_eq!(judged(&[(path, Kind::File)]), Err(Refused::new(path, why)), "{path:?}");
        }
    }

    #[test]
    fn the_verdict_is_the_same_in_any_order() {
        use Kind::{File, Folder, Link};
        for pair in [
            [("d", Link), ("d/x", File)],
            [("d", Link), ("d", Folder)],
            [("d", Link), ("d", File)],
            [("d", File), ("d/x/y", File)],
            [("Readme", File), ("README", File)],
            [("A/x", File), ("a/y", File)],
            [("stra\u{df}e", File), ("STRASSE", File)],
            [("caf\u{e9}", File), ("cafe\u{301}", File)],
        ] {
            assert!(judged(&pair).is_err(), "{pair:?}");
            assert!(judged(&[pair[1], pair[0]]).is_err(), "{pair:?} turned round");
        }
        assert!(judged(&[("d", Folder), ("d/x", File), ("d", Folder), ("e", Link)]).is_ok());
    }

    #[test]
    fn too_many_entries_are_refused() {
        let six: Vec<String> = (0..6).map(|n| n.to_string()).collect();
        let six: Vec<_> = six.iter().map(|n| (n.as_str(), Kind::File)).collect();
        assert_eq!(judged(&six), Err(Refused::new("5", Why::TooMany(5))));
    }

    #[test]
    fn links_stay_inside() {
        for (path, target) in
            [("a", "b"), ("a/b", "../c"), ("a/b/c", "../../d/./e"), ("a/b", ".."), ("a", ".")]
        {
            assert_eq!(link(path, target), Ok(()), "{path} -> {target}");
        }
        for (path, target) in
            [("a", "/etc"), ("a", ".."), ("a/b", "../.."), ("a/b", "c/../d"), ("a", ""), ("a", "./../b")]
        {
            assert!(link(path, target).is_err(), "{path} -> {target}");
        }
    }

    #[test]
    fn special_modes_are_refused() {
        assert_eq!(Kind::of_mode(0o644), Ok(Kind::File));
        assert_eq!(Kind::of_mode(0o100_755), Ok(Kind::File));
        assert_eq!(Kind::of_mode(LINK | 0o777), Ok(Kind::Link));
        for mode in [0o020_666, 0o060_666, 0o010_666, 0o140_777] {
            assert_eq!(Kind::of_mode(mode), Err(Why::Special), "{mode:o}");
        }
        assert_eq!(Kind::of_mode(0o4_755), Err(Why::Mode(0o4_755)));
    }
}
