//! What can be published: a folder, a zip (a JAR, a WAR), a tar, a tar.gz. Each becomes a sorted list of entries
//! whose bytes can be read again.

mod folder;
mod tarball;
mod zipped;

use crate::names::{self, Kind, Limits, Names, Refused, Why};
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
pub(crate) use zipped::holds_less;

/// One entry of a source.
#[derive(Debug)]
pub(crate) struct Entry {
    pub(crate) path: String,
    pub(crate) kind: Kind,
    /// The nine permission bits.
    pub(crate) mode: u32,
    pub(crate) size: u64,
    pub(crate) body: Body,
}

/// Where an entry's bytes are.
#[derive(Debug)]
pub(crate) enum Body {
    /// No bytes (a folder), or a link's target.
    Text(String),
    /// A file of its own.
    Disk(PathBuf),
    /// An entry of the zip.
    Zipped(usize),
    /// So many bytes of the spool, from there on.
    Spooled(u64),
}

/// Why a source cannot be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum SourceError {
    /// An entry is refused.
    #[error(transparent)]
    Refused(#[from] Refused),
    /// It cannot be read.
    #[error("cannot read {path:?}")]
    Io {
        /// What.
        path: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// The archive is damaged.
    #[error("{path:?} is no {kind} that can be read: {reason}")]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What it looked like.
        kind: &'static str,
        /// What is wrong.
        reason: String,
    },
    /// It is something else.
    #[error(
        "{0:?} is neither a folder, nor a zip, JAR or WAR, nor a tar or tar.gz; unpack it and publish the folder"
    )]
    Unknown(PathBuf),
    /// There is nothing in it.
    #[error("{0:?} is empty: there is nothing to publish")]
    Empty(PathBuf),
}

impl SourceError {
    fn io(path: &Path) -> impl Fn(io::Error) -> Self {
        move |source| Self::Io { path: path.to_owned(), source }
    }
}

/// A source, its entries judged and sorted.
pub(crate) struct Source {
    pub(crate) entries: Vec<Entry>,
    pub(crate) bodies: Bodies,
}

/// Where the bytes of a source's entries are.
pub(crate) enum Bodies {
    Disk,
    Zip(Box<zip::ZipArchive<File>>),
    Spool(File),
}

impl Source {
    /// Opens whatever `path` is; `work` takes what a tar holds for as long as the source is open.
    pub(crate) fn open(path: &Path, work: &Path, limits: Limits) -> Result<Self, SourceError> {
        let io = SourceError::io(path);
        let mut source = if path.metadata().map_err(&io)?.is_dir() {
            folder::open(path, limits)?
        } else {
            match Form::of(path).map_err(&io)? {
                Some(Form::Zip) => zipped::open(path, limits)?,
                Some(Form::Tar) => tarball::open(path, File::open(path).map_err(&io)?, work, limits)?,
                Some(Form::TarGz) => {
                    let file = flate2::read::MultiGzDecoder::new(File::open(path).map_err(&io)?);
                    tarball::open(path, file, work, limits)?
                }
                None => return Err(SourceError::Unknown(path.to_owned())),
            }
        };
        judge(&source.entries, limits)?;
        source.entries.sort_by(|a, b| a.path.cmp(&b.path));
        drop_filled_folders(&mut source.entries);
        if source.entries.is_empty() {
            return Err(SourceError::Empty(path.to_owned()));
        }
        Ok(source)
    }
}

/// A folder is an entry of its own only while nothing lies in it; twice is once.
fn drop_filled_folders(entries: &mut Vec<Entry>) {
    let mut filled = std::collections::HashSet::new();
    for entry in entries.iter() {
        let mut path = entry.path.as_str();
        while let Some((folder, _)) = path.rsplit_once('/') {
            if !filled.insert(folder.to_owned()) {
                break;
            }
            path = folder;
        }
    }
    entries.retain(|e| e.kind != Kind::Folder || !filled.contains(&e.path));
    entries.dedup_by(|a, b| a.path == b.path);
}

fn judge(entries: &[Entry], limits: Limits) -> Result<(), Refused> {
    let mut names = Names::new(limits);
    let mut bytes = 0_u64;
    for entry in entries {
        names.add(&entry.path, entry.kind)?;
        if let (Kind::Link, Body::Text(target)) = (entry.kind, &entry.body) {
            names::link(&entry.path, target)?;
        }
        bytes = bytes.saturating_add(entry.size);
        if bytes > limits.bytes {
            return Err(Refused::new(&entry.path, Why::TooMuch(limits.bytes)));
        }
    }
    names.judge()
}

impl Bodies {
    /// The bytes of `entry`, from their beginning; never more than one above its size.
    pub(crate) fn read<'a>(&'a mut self, entry: &'a Entry) -> io::Result<Box<dyn Read + 'a>> {
        let one_more = entry.size.saturating_add(1);
        Ok(match (&entry.body, self) {
            (Body::Text(text), _) => Box::new(text.as_bytes()),
            (Body::Disk(path), _) => Box::new(File::open(path)?.take(one_more)),
            (Body::Zipped(index), Self::Zip(zip)) => {
                Box::new(zip.by_index(*index).map_err(io::Error::other)?.take(one_more))
            }
            (Body::Spooled(offset), Self::Spool(spool)) => {
                spool.seek(SeekFrom::Start(*offset))?;
                Box::new((&*spool).take(entry.size))
            }
            _ => unreachable!("an entry is read from the source that listed it"),
        })
    }
}

/// What an archive is, by its first bytes; names lie.
enum Form {
    Zip,
    Tar,
    TarGz,
}

impl Form {
    fn of(path: &Path) -> io::Result<Option<Self>> {
        let file = File::open(path)?;
        let mut head = [0; 512];
        let n = file.read_at(&mut head, 0)?;
        Ok(match &head[..n] {
            [b'P', b'K', 3, 4, ..] | [b'P', b'K', 5, 6, ..] => Some(Self::Zip),
            [0x1f, 0x8b, ..] => Some(Self::TarGz),
            head if head.len() == 512 && &head[257..262] == b"ustar" => Some(Self::Tar),
            _ => None,
        })
    }
}
