//! A release: a version's archive, its configuration per environment, and the manifest that vouches for both.

use crate::ids::{Environment, MigrationId, Version};
use crate::time::Wall;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// A SHA-256 digest, in lower-case hex.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub struct Digest(String);

/// Why a text is no digest.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("a SHA-256 digest has 64 lower-case hex digits, not {0:?}")]
pub struct BadDigest(String);

impl Digest {
    /// Checks `hex`.
    ///
    /// # Errors
    /// When it is not 64 lower-case hex digits.
    pub fn new(hex: impl Into<String>) -> Result<Self, BadDigest> {
        let hex = hex.into();
        let fits = hex.len() == 64 && hex.bytes().all(|b| b.is_ascii_digit() || (b'a'..=b'f').contains(&b));
        if fits { Ok(Self(hex)) } else { Err(BadDigest(hex)) }
    }

    /// All 64 digits.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.0
    }
}

impl fmt::Display for Digest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(&self.0)
    }
}

impl TryFrom<String> for Digest {
    type Error = BadDigest;
    fn try_from(hex: String) -> Result<Self, BadDigest> {
        Self::new(hex)
    }
}

impl From<Digest> for String {
    fn from(digest: Digest) -> Self {
        digest.0
    }
}

/// What making a release ready cost.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fetched {
    /// Bytes that came from the store.
    pub bytes: u64,
    /// Bytes of the release, unpacked.
    pub of: u64,
}

impl Fetched {
    /// Both together.
    #[must_use]
    pub const fn with(self, other: Self) -> Self {
        Self { bytes: self.bytes + other.bytes, of: self.of + other.of }
    }
}

/// One release, pinned: a version is its bytes, so both travel together.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct ReleaseRef {
    /// The version that people use.
    pub version: Version,
    /// The digest of the stored manifest, which holds the digests of all else.
    pub manifest: Digest,
}

impl fmt::Display for ReleaseRef {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.version.fmt(f)
    }
}

/// What `everup publish` stores beside the archive. The agent trusts nothing that it does not cover.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Manifest {
    /// The form of this document; readers refuse one they do not know.
    pub form: u32,
    /// The version that it describes.
    pub version: Version,
    /// When it was published, by the publisher's clock.
    pub published: Wall,
    /// The archive, an ordinary zip.
    pub archive: Part,
    /// One configuration zip per environment; may be empty.
    #[serde(default)]
    pub configurations: BTreeMap<Environment, Part>,
    /// Every file of the archive, sorted by path.
    pub files: Vec<File>,
    /// How the app is started, if the release says so; else the instance's own settings do.
    #[serde(default)]
    pub start: Option<Command>,
    /// The migration that has to run before the release can start.
    #[serde(default)]
    pub migration: Option<Migration>,
    /// A signature in minisign's format over the document without this field.
    #[serde(default)]
    pub signature: Option<String>,
}

/// The form of [`Manifest`] that this version writes.
pub const MANIFEST_FORM: u32 = 1;

/// One stored object of a release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Part {
    /// Its bytes.
    pub sha256: Digest,
    /// How many they are.
    pub size: u64,
}

/// One file of the archive.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct File {
    /// Relative, with `/`, without `.` or `..`.
    pub path: String,
    /// Unix permission bits.
    pub mode: u32,
    /// Unpacked size in bytes.
    pub size: u64,
    /// Digest of the unpacked bytes.
    pub sha256: Digest,
    /// Where its (compressed) bytes begin in the archive.
    pub offset: u64,
    /// How many bytes it takes there.
    pub length: u64,
}

/// A command line, run by `/bin/sh -c` in the release's folder.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Command(pub String);

/// A breaking change of the database.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Migration {
    /// Applied at most once under this name, in every deployment of every release.
    pub id: MigrationId,
    /// What applies it.
    pub command: Command,
    /// What takes it back, if anything can.
    #[serde(default)]
    pub undo: Option<Command>,
    /// What an exit status other than 0 means.
    #[serde(default)]
    pub on_failure: OnFailure,
}

/// What a migration's exit status other than 0 means.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum OnFailure {
    /// The database is as it was before (the contract): the old release may return.
    #[default]
    GoBack,
    /// The tool cannot promise that (MySQL commits each DDL statement by itself): a person decides.
    Stop,
}
