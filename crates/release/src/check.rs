//! Which manifests are taken. What passes here cannot make the unpacker write outside of its folder, write one
//! byte twice, or write more than is declared: it comes from the store, which anyone's bug may have written.

use crate::names::{Kind, Limits, Names, Refused, Why};
use crate::source::holds_less;
use everup_core::ids::Version;
use everup_core::release::{File, MANIFEST_FORM, Manifest};

/// The longest manifest that is read.
pub const LONGEST_MANIFEST: usize = 64 << 20;

/// Why a manifest is refused.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum BadManifest {
    /// Longer than [`LONGEST_MANIFEST`].
    #[error("it has {0} bytes, more than 64 MiB")]
    TooLong(usize),
    /// It is no manifest.
    #[error("it cannot be read as a manifest")]
    Json(#[from] serde_json::Error),
    /// A later everup wrote it.
    #[error("it is of form {0}, this everup knows form 1; update everup on this machine")]
    Form(u32),
    /// It was stored under another version.
    #[error("it describes version {0}")]
    OtherVersion(Version),
    /// An entry is refused.
    #[error(transparent)]
    Entry(#[from] Refused),
}

/// Reads `bytes` as the manifest of `version`.
///
/// # Errors
/// When it is none, or is refused.
pub fn read(version: &Version, bytes: &[u8], limits: Limits) -> Result<Manifest, BadManifest> {
    if bytes.len() > LONGEST_MANIFEST {
        return Err(BadManifest::TooLong(bytes.len()));
    }
    let manifest: Manifest = serde_json::from_slice(bytes)?;
    if manifest.form != MANIFEST_FORM {
        return Err(BadManifest::Form(manifest.form));
    }
    if manifest.version != *version {
        return Err(BadManifest::OtherVersion(manifest.version));
    }
    entries(&manifest, limits)?;
    Ok(manifest)
}

/// Judges what the manifest says of its files.
///
/// # Errors
/// When an entry is refused.
pub fn entries(manifest: &Manifest, limits: Limits) -> Result<(), Refused> {
    let mut names = Names::new(limits);
    let mut bytes = 0_u64;
    for file in &manifest.files {
        names.add(&file.path, kind(file)?)?;
        bytes = bytes.saturating_add(file.size);
        if bytes > limits.bytes {
            return Err(Refused::new(&file.path, Why::TooMuch(limits.bytes)));
        }
        if holds_less(file.length, file.size) {
            return Err(Refused::new(&file.path, Why::Bomb(file.size, file.length)));
        }
    }
    names.judge()?;
    apart(&manifest.files, manifest.archive.size)
}

/// What `file` is.
///
/// # Errors
/// When its mode is of a kind, or has bits, that no release may have.
pub fn kind(file: &File) -> Result<Kind, Refused> {
    Kind::of_mode(file.mode).map_err(|why| Refused::new(&file.path, why))
}

/// The files in the order of their bytes in the archive.
#[must_use]
pub fn by_offset(files: &[File]) -> Vec<&File> {
    let mut sorted: Vec<&File> = files.iter().collect();
    sorted.sort_by_key(|f| (f.offset, f.length));
    sorted
}

/// No byte of the archive belongs to two entries, and all of them lie inside of it.
fn apart(files: &[File], archive: u64) -> Result<(), Refused> {
    let mut free = 0;
    for file in by_offset(files) {
        let end = file.offset.checked_add(file.length);
        match end {
            Some(end) if file.offset >= free && end <= archive && file.length <= file.size => free = end,
            _ => return Err(Refused::new(&file.path, Why::Overlap)),
        }
    }
    Ok(())
}
