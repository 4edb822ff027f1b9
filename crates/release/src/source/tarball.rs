//! A tar as a source. A tar is read once, from its beginning, so what its files hold waits in a spool.

use super::{Bodies, Body, Entry, Source, SourceError};
use crate::names::{Kind, Limits, Refused, Why};
use std::collections::BTreeMap;
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use tar::EntryType;

pub(super) fn open(path: &Path, tar: impl Read, work: &Path, limits: Limits) -> Result<Source, SourceError> {
    let spool = tempfile::tempfile_in(work).map_err(SourceError::io(work))?;
    let mut reader = Reader { spool, at: 0, files: BTreeMap::new(), limits };
    let mut entries = Vec::new();
    let mut archive = tar::Archive::new(tar);
    let damaged = |error: &io::Error| SourceError::Damaged {
        path: path.to_owned(),
        kind: "tar",
        reason: error.to_string(),
    };
    for item in archive.entries().map_err(|e| damaged(&e))? {
        let mut item = item.map_err(|e| damaged(&e))?;
        match reader.entry(&mut item) {
            Ok(Some(entry)) => entries.push(entry),
            Ok(None) => {}
            Err(TarError::Refused(refused)) => return Err(refused.into()),
            Err(TarError::Io(error)) => return Err(damaged(&error)),
        }
        if entries.len() > limits.entries {
            return Err(Refused::new(&entries[limits.entries].path, Why::TooMany(limits.entries)).into());
        }
    }
    Ok(Source { entries, bodies: Bodies::Spool(reader.spool) })
}

#[derive(Debug, thiserror::Error)]
enum TarError {
    #[error(transparent)]
    Refused(#[from] Refused),
    #[error(transparent)]
    Io(#[from] io::Error),
}

struct Reader {
    spool: File,
    at: u64,
    /// Where each file so far lies in the spool: what a hard link may name.
    files: BTreeMap<String, (u64, u64)>,
    limits: Limits,
}

impl Reader {
    fn entry(&mut self, item: &mut tar::Entry<'_, impl Read>) -> Result<Option<Entry>, TarError> {
        let kind = item.header().entry_type();
        if matches!(kind, EntryType::XGlobalHeader) {
            return Ok(None);
        }
        let path = path(&item.path_bytes())?;
        if path.is_empty() {
            // "./", which most tars begin with.
            return Ok(None);
        }
        let mode = item.header().mode()? & 0o777;
        let (kind, size, body) = match kind {
            EntryType::Directory => (Kind::Folder, 0, Body::Text(String::new())),
            EntryType::Regular | EntryType::Continuous => self.spool(&path, item)?,
            EntryType::Symlink => {
                let target = text(&path, &item.link_name_bytes().unwrap_or_default())?;
                (Kind::Link, target.len() as u64, Body::Text(target))
            }
            EntryType::Link => self.hard_link(&path, item)?,
            _ => return Err(Refused::new(path, Why::Special).into()),
        };
        Ok(Some(Entry { path, kind, mode, size, body }))
    }

    fn spool(&mut self, path: &str, item: &mut impl Read) -> Result<(Kind, u64, Body), TarError> {
        let left = self.limits.bytes.saturating_sub(self.at);
        let size = io::copy(&mut item.take(left.saturating_add(1)), &mut self.spool)?;
        if size > left {
            return Err(Refused::new(path, Why::TooMuch(self.limits.bytes)).into());
        }
        let offset = self.at;
        self.at += size;
        self.files.insert(path.to_owned(), (offset, size));
        Ok((Kind::File, size, Body::Spooled(offset)))
    }

    /// A hard link is a second name of a file that the archive brought before, and nothing else.
    fn hard_link(
        &mut self,
        path: &str,
        item: &tar::Entry<'_, impl Read>,
    ) -> Result<(Kind, u64, Body), TarError> {
        let target = text(path, &item.link_name_bytes().unwrap_or_default())?;
        let name = target.strip_prefix("./").unwrap_or(&target);
        match self.files.get(name) {
            Some((offset, size)) if item.size() == 0 => Ok((Kind::File, *size, Body::Spooled(*offset))),
            _ => Err(Refused::new(path, Why::HardLink(target)).into()),
        }
    }
}

/// Without the `./` before and the `/` behind that tars write; all else is judged as it stands.
fn path(bytes: &[u8]) -> Result<String, Refused> {
    let whole = String::from_utf8(bytes.to_vec())
        .map_err(|_| Refused::new(String::from_utf8_lossy(bytes), Why::NotUtf8))?;
    if whole == "." {
        return Ok(String::new());
    }
    let bare = whole.strip_prefix("./").unwrap_or(&whole);
    Ok(bare.strip_suffix('/').unwrap_or(bare).to_owned())
}

fn text(path: &str, bytes: &[u8]) -> Result<String, Refused> {
    String::from_utf8(bytes.to_vec()).map_err(|_| Refused::new(path, Why::NotUtf8))
}
