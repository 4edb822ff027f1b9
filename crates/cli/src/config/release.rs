//! `everup.release.toml` in a release's root: what the release itself says of how it is started and migrated.

use super::complaint::Sheet;
use super::kinds::{MIGRATION, ON_FAILURE, TEXT};
use super::section::Section;
use super::{Broken, parse};
use everup_core::release::{Command, Migration, OnFailure};
use std::path::Path;
use toml::de::DeTable;

/// The name of the file.
pub const RELEASE_FILE: &str = "everup.release.toml";

/// What it says.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Said {
    /// How the app is started.
    pub start: Option<Command>,
    /// What has to run before it can start.
    pub migration: Option<Migration>,
}

/// Reads the text of the file at `path`.
///
/// # Errors
/// With every mistake in it.
pub fn read(path: &Path, source: &str) -> Result<Said, Broken> {
    parse(path, source, said)
}

fn said(table: &DeTable<'_>, sheet: &Sheet) -> Said {
    let mut file = Section::root(table, 0..0, sheet);
    let mut start = file.section("start");
    let command = start.need("command", &TEXT).map(Command);
    start.end();
    let migration = migration(file.section("migration"));
    file.end();
    Said { start: command, migration }
}

fn migration(mut section: Section<'_>) -> Option<Migration> {
    let exists = section.exists();
    let id = section.need("id", &MIGRATION);
    let command = section.need("command", &TEXT).map(Command);
    let undo = section.get("undo", &TEXT).map(Command);
    let mut on_failure = OnFailure::default();
    section.set("on_failure", &ON_FAILURE, &mut on_failure);
    section.end();
    if !exists {
        return None;
    }
    Some(Migration { id: id?, command: command?, undo, on_failure })
}
