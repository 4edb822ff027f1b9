//! The releases of a world, and how their apps and migrations conduct themselves.

use everup_core::ids::{MigrationId, Version};
use everup_core::release::{
    Command, Digest, MANIFEST_FORM, Manifest, Migration, OnFailure, Part, ReleaseRef,
};
use everup_core::time::Wall;
use std::collections::BTreeMap;

/// How an app of a release conducts itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Conduct {
    /// It starts and serves.
    Good,
    /// It runs and never answers its check.
    NeverHealthy,
    /// It ends as soon as it was started.
    ExitsAtOnce,
    /// It is healthy and dies so many milliseconds later.
    DiesAfter(u64),
    /// It says that it is another version.
    Lies,
}

/// How a migration's command ends, if nothing else ends it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Ending {
    /// Exit status 0: applied.
    Applied,
    /// Exit status 1: by contract the database is as before.
    Failed,
    /// Killed by a signal; whether it was applied is for the operator to find out.
    Killed {
        /// The truth.
        applied: bool,
    },
}

/// A release.
#[derive(Debug, Clone)]
pub(crate) struct Release {
    /// Its number, which is its version.
    pub(crate) no: u16,
    /// The schema that its app needs.
    pub(crate) schema: u16,
    /// How its app conducts itself.
    pub(crate) conduct: Conduct,
    /// Its migration to that schema: how long it takes and how it ends, per attempt.
    pub(crate) migration: Option<(u64, Ending)>,
    /// What an exit status other than 0 means.
    pub(crate) on_failure: OnFailure,
    /// How its migration's undo ends, if it brings one.
    pub(crate) undo: Option<Ending>,
}

/// All of them.
#[derive(Debug, Default)]
pub(crate) struct Releases(BTreeMap<u16, Release>);

impl Releases {
    /// Publishes one; its number is the next.
    pub(crate) fn publish(&mut self, schema: u16, conduct: Conduct) -> &mut Release {
        let no = self.0.len() as u16 + 1;
        let release =
            Release { no, schema, conduct, migration: None, on_failure: OnFailure::GoBack, undo: None };
        self.0.entry(no).or_insert(release)
    }

    /// The one that `pinned` names.
    pub(crate) fn of(&self, pinned: &ReleaseRef) -> &Release {
        self.0.get(&number(pinned)).expect("only published releases are named")
    }

    /// The one numbered `no`.
    pub(crate) fn get(&self, no: u16) -> Option<&Release> {
        self.0.get(&no)
    }

    /// The newest that brings a migration.
    pub(crate) fn newest_migrating(&self) -> Option<&Release> {
        self.0.values().rev().find(|release| release.migration.is_some())
    }
}

/// The number in a pinned release's version.
pub(crate) fn number(pinned: &ReleaseRef) -> u16 {
    number_of(&pinned.version)
}

/// The number in a version.
pub(crate) fn number_of(version: &Version) -> u16 {
    version.as_str().parse().unwrap_or(0)
}

/// A release pinned.
pub(crate) fn pinned(no: u16) -> ReleaseRef {
    ReleaseRef { version: version(no), manifest: digest(no) }
}

/// A release's version.
pub(crate) fn version(no: u16) -> Version {
    Version::new(no.to_string()).expect("a number is a good version")
}

/// The name of the migration to `schema`.
pub(crate) fn migration_id(schema: u16) -> MigrationId {
    MigrationId::new(format!("schema-{schema}")).expect("it is a good name")
}

fn digest(no: u16) -> Digest {
    Digest::new(format!("{no:064x}")).expect("64 digits of hex")
}

/// What the store holds of a release.
pub(crate) fn manifest(release: &Release) -> Manifest {
    let migration = release.migration.map(|_| Migration {
        id: migration_id(release.schema),
        command: Command(format!("migrate --to {}", release.schema)),
        undo: release.undo.map(|_| Command(format!("migrate --back-from {}", release.schema))),
        on_failure: release.on_failure,
    });
    Manifest {
        form: MANIFEST_FORM,
        version: version(release.no),
        published: Wall(0),
        archive: Part { sha256: digest(release.no), size: 1 },
        configurations: BTreeMap::new(),
        files: Vec::new(),
        start: None,
        migration,
        signature: None,
    }
}
