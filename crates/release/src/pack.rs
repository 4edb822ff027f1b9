//! From a source to what is stored: the archive, the configurations, the manifest. Nothing here touches a store.

use crate::digest;
use crate::names::{FOLDER, Kind, LINK, Limits, Refused, Why};
pub use crate::source::SourceError;
use crate::source::{Bodies, Entry, Source};
use crate::zipfile::{Reread, ZipFile};
use everup_core::ids::{Environment, Version};
use everup_core::release::{Command, File as Listed, MANIFEST_FORM, Manifest, Migration, Part, ReleaseRef};
use everup_core::time::Wall;
use std::collections::BTreeMap;
use std::io::{self, Read};
use std::path::{Path, PathBuf};
use tempfile::NamedTempFile;

/// What a publisher says about a release, beside its files.
#[derive(Debug, Clone)]
pub struct Draft {
    /// Its version.
    pub version: Version,
    /// Now, by the publisher's clock.
    pub published: Wall,
    /// How the app is started, if the release says so.
    pub start: Option<Command>,
    /// The migration that it needs.
    pub migration: Option<Migration>,
    /// A folder or archive for each environment that has a configuration of its own.
    pub configurations: BTreeMap<Environment, PathBuf>,
    /// How much the release may be.
    pub limits: Limits,
}

impl Draft {
    /// A release of files alone.
    #[must_use]
    pub fn new(version: Version, published: Wall) -> Self {
        Self {
            version,
            published,
            start: None,
            migration: None,
            configurations: BTreeMap::new(),
            limits: Limits::default(),
        }
    }
}

/// The most that a file may hold that says something about its release.
const TEXT: u64 = 1 << 20;

/// The text of the file `name` at the root of the archive or folder at `path`, if there is one; `work` takes what a tar
/// holds meanwhile.
///
/// # Errors
/// When the source is refused, or cannot be read, or the file is no text.
pub fn text_of(path: &Path, name: &str, work: &Path) -> Result<Option<String>, PackError> {
    let Source { entries, mut bodies } = Source::open(path, work, Limits::default())?;
    let Some(entry) = entries.iter().find(|entry| entry.path == name) else { return Ok(None) };
    let mut text = String::new();
    let read = bodies.read(entry).and_then(|body| body.take(TEXT).read_to_string(&mut text));
    read.map_err(|source| SourceError::Io { path: path.join(name), source })?;
    Ok(Some(text))
}

/// A release that is ready to be stored. Its files vanish with it.
#[derive(Debug)]
pub struct Packed {
    /// What it is.
    pub manifest: Manifest,
    /// The manifest as it is stored.
    pub bytes: Vec<u8>,
    /// The archive.
    pub archive: NamedTempFile,
    /// The configurations.
    pub configurations: BTreeMap<Environment, NamedTempFile>,
}

impl Packed {
    /// The release, pinned.
    #[must_use]
    pub fn release(&self) -> ReleaseRef {
        ReleaseRef { version: self.manifest.version.clone(), manifest: digest::of(&self.bytes) }
    }
}

/// Why a release cannot be packed.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum PackError {
    /// The source is refused, or cannot be read.
    #[error(transparent)]
    Source(#[from] SourceError),
    /// An entry cannot be packed.
    #[error("cannot pack {entry:?} into an archive below {work:?}")]
    Entry {
        /// Which.
        entry: String,
        /// Where to.
        work: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
    /// There is no place for the archive.
    #[error("cannot write the archive below {work:?}; it needs about the size of the release in free space")]
    Write {
        /// Where.
        work: PathBuf,
        /// Why.
        #[source]
        source: io::Error,
    },
}

/// Packs the folder, zip, tar or tar.gz at `source`. `work` takes the archive until the result is dropped.
///
/// The same files give the same archive: entries are sorted, times fixed. Empty folders, permission bits and links
/// that stay inside are kept.
///
/// # Errors
/// When an entry is refused (it is named), the source cannot be read, or `work` is full.
pub fn pack(source: &Path, draft: Draft, work: &Path) -> Result<Packed, PackError> {
    let (archive, part, files) = archive(source, work, draft.limits)?;
    let mut configurations = BTreeMap::new();
    let mut parts = BTreeMap::new();
    for (environment, source) in draft.configurations {
        let (file, part, _) = self::archive(&source, work, draft.limits)?;
        parts.insert(environment.clone(), part);
        configurations.insert(environment, file);
    }
    let manifest = Manifest {
        form: MANIFEST_FORM,
        version: draft.version,
        published: draft.published,
        archive: part,
        configurations: parts,
        files,
        start: draft.start,
        migration: draft.migration,
        signature: None,
    };
    let bytes = serde_json::to_vec(&manifest).expect("a manifest has only text keys");
    Ok(Packed { manifest, bytes, archive, configurations })
}

fn archive(
    source: &Path,
    work: &Path,
    limits: Limits,
) -> Result<(NamedTempFile, Part, Vec<Listed>), PackError> {
    let write = |source| PackError::Write { work: work.to_owned(), source };
    let source = Source::open(source, work, limits)?;
    let file = NamedTempFile::new_in(work).map_err(write)?;
    let mut zip = ZipFile::new(file.reopen().map_err(write)?);
    let files = entries(source, &mut zip, work)?;
    zip.finish().and_then(|file| file.sync_all()).map_err(write)?;
    let (sha256, size) = digest::of_file(file.path()).map_err(write)?;
    Ok((file, Part { sha256, size }, files))
}

fn entries(source: Source, zip: &mut ZipFile, work: &Path) -> Result<Vec<Listed>, PackError> {
    let Source { entries, mut bodies } = source;
    let mut files = Vec::with_capacity(entries.len());
    for entry in &entries {
        let failed = |source| PackError::Entry { entry: entry.path.clone(), work: work.to_owned(), source };
        let bytes = &mut Bytes { entry, bodies: &mut bodies };
        let packed = zip.add(name(entry), mode(entry), entry.size, bytes).map_err(failed)?;
        let packed = packed.ok_or_else(|| SourceError::Refused(Refused::new(&entry.path, Why::Changed)))?;
        files.push(Listed {
            path: entry.path.clone(),
            mode: if entry.kind == Kind::File { entry.mode } else { mode(entry) },
            size: packed.size,
            sha256: packed.sha256,
            offset: packed.offset,
            length: packed.length,
        });
    }
    Ok(files)
}

fn name(entry: &Entry) -> String {
    if entry.kind == Kind::Folder { format!("{}/", entry.path) } else { entry.path.clone() }
}

const fn mode(entry: &Entry) -> u32 {
    entry.mode
        | match entry.kind {
            Kind::File => 0o100_000,
            Kind::Link => LINK,
            Kind::Folder => FOLDER,
        }
}

struct Bytes<'a> {
    entry: &'a Entry,
    bodies: &'a mut Bodies,
}

impl Reread for Bytes<'_> {
    fn open(&mut self) -> io::Result<Box<dyn Read + '_>> {
        self.bodies.read(self.entry)
    }
}
