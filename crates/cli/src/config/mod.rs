//! everup.toml: found, read, checked. Every mistake in it is said at once, each with its place; nothing is ignored
//! and nothing is guessed.

mod check;
mod complaint;
pub mod kinds;
mod read;
pub mod release;
pub mod section;

pub use complaint::Complaint;

use complaint::Sheet;
use everup_host::settings::Settings;
use std::io;
use std::path::{Path, PathBuf};
use toml::de::DeTable;

/// The name of the file.
pub const FILE: &str = "everup.toml";

/// Why there are no settings.
#[derive(Debug, thiserror::Error)]
pub enum ConfigError {
    /// Nowhere from here to the root of the file system.
    #[error("no {FILE} in {} or any folder above it", .0.display())]
    Missing(PathBuf),
    /// It is there and cannot be read.
    #[error("{} cannot be read", .0.display())]
    Unreadable(PathBuf, #[source] io::Error),
    /// It has mistakes.
    #[error(transparent)]
    Broken(#[from] Broken),
}

/// A file with mistakes.
#[derive(Debug, thiserror::Error)]
#[error("{} has {}", .path.display(), mistakes(.complaints.len()))]
pub struct Broken {
    path: PathBuf,
    source_text: String,
    complaints: Vec<Complaint>,
}

fn mistakes(n: usize) -> String {
    everup_core::words::count(n, "mistake")
}

impl Broken {
    /// The mistakes, each with file, line, column, the line itself and what was expected.
    #[must_use]
    pub fn text(&self, colour: bool) -> String {
        complaint::render(&self.complaints, &self.path.to_string_lossy(), &self.source_text, colour)
    }
}

/// The file that `given` names, or the nearest one from `here` upwards.
///
/// # Errors
/// When there is none.
pub fn place(given: Option<&Path>, here: &Path) -> Result<PathBuf, ConfigError> {
    match given {
        Some(path) => Ok(here.join(path)),
        None => find(here).ok_or_else(|| ConfigError::Missing(here.to_owned())),
    }
}

/// The settings of the file that `given` names, or of the nearest one from `here` upwards.
///
/// # Errors
/// When there is none, it cannot be read, or has mistakes.
pub fn load(given: Option<&Path>, here: &Path) -> Result<Settings, ConfigError> {
    let path = place(given, here)?;
    let unreadable = |error| ConfigError::Unreadable(path.clone(), error);
    let source = std::fs::read_to_string(&path).map_err(unreadable)?;
    let root = path.parent().unwrap_or(here).canonicalize().map_err(unreadable)?;
    Ok(read(shorter(&path, here), &source, &root)?)
}

/// The settings that `source`, the text of `path`, describes for the folder `root`.
///
/// # Errors
/// With every mistake in it.
pub fn read(path: &Path, source: &str, root: &Path) -> Result<Settings, Broken> {
    parse(path, source, |table, sheet| {
        let settings = read::settings(table, source.len(), root, sheet);
        check::settings(&settings, sheet);
        settings
    })
}

/// Parses `source` and has `with` read it; whatever either finds wrong is told together.
fn parse<T>(path: &Path, source: &str, with: impl FnOnce(&DeTable<'_>, &Sheet) -> T) -> Result<T, Broken> {
    let sheet = Sheet::default();
    let (table, errors) = DeTable::parse_recoverable(source);
    for error in &errors {
        let message = error.message().lines().next().unwrap_or("not TOML").to_owned();
        sheet.complain(error.span().unwrap_or(0..0), "this is not TOML", message);
    }
    // What was read of a file that is no TOML would only add complaints that are none.
    let read = if errors.is_empty() { Some(with(table.get_ref(), &sheet)) } else { None };
    let complaints = sheet.into_complaints();
    match read {
        Some(read) if complaints.is_empty() => Ok(read),
        _ => Err(Broken { path: path.to_owned(), source_text: source.to_owned(), complaints }),
    }
}

/// The nearest everup.toml from `here` upwards.
#[must_use]
pub fn find(here: &Path) -> Option<PathBuf> {
    here.ancestors().map(|folder| folder.join(FILE)).find(|file| file.is_file())
}

/// `path` as a person in `here` would write it.
fn shorter<'p>(path: &'p Path, here: &Path) -> &'p Path {
    path.strip_prefix(here).unwrap_or(path)
}
