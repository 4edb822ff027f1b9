//! A zip (a JAR, a WAR) as a source.

use super::{Bodies, Body, Entry, Source, SourceError};
use crate::names::{Kind, Limits, Refused, Why};
use std::fs::File;
use std::io::{self, Read};
use std::path::Path;
use zip::ZipArchive;
use zip::read::ZipFile;

/// The longest target of a link that is read into memory.
const LONGEST_TARGET: u64 = 4_096;

pub(super) fn open(path: &Path, limits: Limits) -> Result<Source, SourceError> {
    let damaged = |reason: &dyn std::fmt::Display| SourceError::Damaged {
        path: path.to_owned(),
        kind: "zip",
        reason: reason.to_string(),
    };
    let file = File::open(path).map_err(SourceError::io(path))?;
    let mut zip = ZipArchive::new(file).map_err(|e| damaged(&e))?;
    if zip.len() > limits.entries {
        return Err(Refused::new(zip.len(), Why::TooMany(limits.entries)).into());
    }
    if zip.has_duplicate_names() {
        return Err(damaged(&"a name is listed twice in it"));
    }
    let mut entries = Vec::with_capacity(zip.len());
    let mut ranges = Vec::with_capacity(zip.len());
    for index in 0..zip.len() {
        let mut file = zip.by_index_raw(index).map_err(|e| damaged(&e))?;
        let (name, is_folder) = name(&file)?;
        let start = file.header_start();
        let end = file.data_start().unwrap_or(start).saturating_add(file.compressed_size());
        ranges.push((start, end, name.clone()));
        let mut entry = entry(name, is_folder, index, &file)?;
        if entry.kind == Kind::Link {
            drop(file);
            file = zip.by_index(index).map_err(|e| damaged(&e))?;
            let target = target(&mut file, &entry.path).map_err(|e| damaged(&e))??;
            entry.size = target.len() as u64;
            entry.body = Body::Text(target);
        }
        entries.push(entry);
    }
    apart(ranges, zip.central_directory_start())?;
    Ok(Source { entries, bodies: Bodies::Zip(Box::new(zip)) })
}

/// The entry's name, and whether it is written as a folder's.
fn name<R: Read>(file: &ZipFile<'_, R>) -> Result<(String, bool), Refused> {
    let raw = file.name_raw();
    let Ok(name) = std::str::from_utf8(raw) else {
        return Err(Refused::new(String::from_utf8_lossy(raw), Why::NotUtf8));
    };
    if name.contains('\\') {
        return Err(Refused::new(name, Why::Backslash));
    }
    Ok(name.strip_suffix('/').map_or((name.to_owned(), false), |folder| (folder.to_owned(), true)))
}

fn entry<R: Read>(
    name: String,
    is_folder: bool,
    index: usize,
    file: &ZipFile<'_, R>,
) -> Result<Entry, Refused> {
    if file.encrypted() {
        return Err(Refused::new(name, Why::Encrypted));
    }
    // Archives made on other systems have no modes.
    let bits = file.unix_mode().unwrap_or(0) & 0o170_777;
    let kind = match Kind::of_mode(bits) {
        Ok(Kind::File) if is_folder => Kind::Folder,
        Ok(kind) => kind,
        Err(why) => return Err(Refused::new(name, why)),
    };
    let mode = match (bits & 0o777, kind) {
        (0, Kind::File) => 0o644,
        (0, _) => 0o755,
        (mode, _) => mode,
    };
    let size = if kind == Kind::Folder { 0 } else { file.size() };
    if kind != Kind::Folder && holds_less(file.compressed_size(), size) {
        return Err(Refused::new(name, Why::Bomb(size, file.compressed_size())));
    }
    let body = if kind == Kind::Folder { Body::Text(String::new()) } else { Body::Zipped(index) };
    Ok(Entry { path: name, kind, mode, size, body })
}

/// Whether no deflate stream of `packed` bytes can hold `size`: its best is 1,032 to 1.
pub(crate) const fn holds_less(packed: u64, size: u64) -> bool {
    size > packed.saturating_mul(1_032).saturating_add(1_032)
}

fn target<R: Read>(file: &mut ZipFile<'_, R>, path: &str) -> io::Result<Result<String, Refused>> {
    let mut bytes = Vec::new();
    file.take(LONGEST_TARGET).read_to_end(&mut bytes)?;
    Ok(String::from_utf8(bytes).map_err(|_| Refused::new(path, Why::NotUtf8)))
}

/// Refuses entries that share bytes, headers included: what makes a small archive a huge tree.
fn apart(mut ranges: Vec<(u64, u64, String)>, directory: u64) -> Result<(), Refused> {
    ranges.sort();
    let ends = ranges.iter().skip(1).map(|next| next.0).chain([directory]);
    let overlap = ranges.iter().zip(ends).find(|((_, end, _), next)| end > next);
    overlap.map_or(Ok(()), |((_, _, name), _)| Err(Refused::new(name, Why::Overlap)))
}
