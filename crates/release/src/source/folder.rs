//! A folder as a source.

use super::{Bodies, Body, Entry, Source, SourceError};
use crate::names::{Kind, Limits, Refused, Why};
use std::fs::{self, Metadata};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

pub(super) fn open(root: &Path, limits: Limits) -> Result<Source, SourceError> {
    let mut entries = Vec::new();
    let mut folders = vec![(root.to_owned(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        for item in fs::read_dir(&folder).map_err(SourceError::io(&folder))? {
            let disk = item.map_err(SourceError::io(&folder))?.path();
            let entry = entry(disk, &prefix)?;
            if entries.len() >= limits.entries {
                return Err(Refused::new(&entry.path, Why::TooMany(limits.entries)).into());
            }
            if let (Kind::Folder, Body::Disk(disk)) = (entry.kind, &entry.body) {
                folders.push((disk.clone(), format!("{}/", entry.path)));
            }
            entries.push(entry);
        }
    }
    // A folder is walked by its place on disk, but has no bytes of its own.
    for entry in entries.iter_mut().filter(|e| e.kind == Kind::Folder) {
        entry.body = Body::Text(String::new());
    }
    Ok(Source { entries, bodies: Bodies::Disk })
}

fn entry(disk: PathBuf, prefix: &str) -> Result<Entry, SourceError> {
    let name = disk.file_name().unwrap_or_default();
    let shown = format!("{prefix}{}", name.to_string_lossy());
    let Some(name) = name.to_str() else {
        return Err(Refused::new(shown, Why::NotUtf8).into());
    };
    let path = format!("{prefix}{name}");
    let meta = disk.symlink_metadata().map_err(SourceError::io(&disk))?;
    let mode = meta.permissions().mode() & 0o777;
    let (kind, size, body) = match kind(&meta) {
        Some(Kind::File) => (Kind::File, meta.len(), Body::Disk(disk)),
        Some(Kind::Folder) => (Kind::Folder, 0, Body::Disk(disk)),
        Some(Kind::Link) => {
            let target = fs::read_link(&disk).map_err(SourceError::io(&disk))?;
            let Some(target) = target.to_str() else {
                return Err(Refused::new(shown, Why::NotUtf8).into());
            };
            (Kind::Link, target.len() as u64, Body::Text(target.to_owned()))
        }
        None => return Err(Refused::new(shown, Why::Special).into()),
    };
    Ok(Entry { path, kind, mode, size, body })
}

fn kind(meta: &Metadata) -> Option<Kind> {
    let kind = meta.file_type();
    if kind.is_symlink() {
        Some(Kind::Link)
    } else if kind.is_dir() {
        Some(Kind::Folder)
    } else if kind.is_file() {
        Some(Kind::File)
    } else {
        None
    }
}
