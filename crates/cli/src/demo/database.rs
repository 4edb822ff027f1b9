//! The demo's database: a file whose first line is its schema, then one line for each POST that was counted.
//!
//! Schema 1 has lines `id`; schema 2 has lines `id version`, so that release 2, which writes the former, cannot run
//! on it: the kind of change that all at once is for.

use std::fs::{File, OpenOptions};
use std::io::{self, BufRead, BufReader, Write};
use std::path::{Path, PathBuf};

/// Why the database cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum DatabaseError {
    /// It has another schema than the release needs.
    #[error("the database has schema {found}, this release needs schema {needed}")]
    Schema {
        /// What it has.
        found: u32,
        /// What is needed.
        needed: u32,
    },
    /// Its first line is no schema.
    #[error("the database begins with {0:?} instead of its schema")]
    NoSchema(String),
    /// The file itself.
    #[error("the database {} cannot be used", .0.display())]
    File(PathBuf, #[source] io::Error),
}

/// One release's way to the database.
#[derive(Debug, Clone)]
pub struct Database {
    path: PathBuf,
    schema: u32,
}

impl Database {
    /// The database at `path`, of `schema`; made if there is none.
    ///
    /// # Errors
    /// When it has another schema.
    pub fn open(path: &Path, schema: u32) -> Result<Self, DatabaseError> {
        let database = Self { path: path.to_owned(), schema };
        create(path, schema).map_err(|e| database.failed(e))?;
        database.check()?;
        Ok(database)
    }

    /// Counts `id`, once per call: a line is written by one write, appended, under a lock that a migration takes too.
    ///
    /// # Errors
    /// When the schema is not this release's any more, or the file cannot be written.
    pub fn count(&self, id: &str, version: &str) -> Result<(), DatabaseError> {
        let mut file = OpenOptions::new().append(true).open(&self.path).map_err(|e| self.failed(e))?;
        file.lock_shared().map_err(|e| self.failed(e))?;
        self.check()?;
        let line = if self.schema == 1 { format!("{id}\n") } else { format!("{id} {version}\n") };
        file.write_all(line.as_bytes()).map_err(|e| self.failed(e))
    }

    /// Whether it still has the schema that this release needs.
    ///
    /// # Errors
    /// When it has not.
    pub fn check(&self) -> Result<(), DatabaseError> {
        match schema(&self.path)? {
            found if found == self.schema => Ok(()),
            found => Err(DatabaseError::Schema { found, needed: self.schema }),
        }
    }

    fn failed(&self, error: io::Error) -> DatabaseError {
        DatabaseError::File(self.path.clone(), error)
    }
}

/// The schema of the database at `path`.
///
/// # Errors
/// When it cannot be read.
pub fn schema(path: &Path) -> Result<u32, DatabaseError> {
    let failed = |error| DatabaseError::File(path.to_owned(), error);
    let mut first = String::new();
    BufReader::new(File::open(path).map_err(failed)?).read_line(&mut first).map_err(failed)?;
    let number = first.trim_end().strip_prefix("schema ").and_then(|n| n.parse().ok());
    number.ok_or_else(|| DatabaseError::NoSchema(first.trim_end().to_owned()))
}

/// Every id that was counted, as often as it was.
///
/// # Errors
/// When it cannot be read.
pub fn counted(path: &Path) -> Result<Vec<String>, DatabaseError> {
    let text = std::fs::read_to_string(path).map_err(|e| DatabaseError::File(path.to_owned(), e))?;
    let ids = text.lines().skip(1).filter_map(|line| line.split(' ').next());
    Ok(ids.map(str::to_owned).collect())
}

/// Brings the database from schema 1 to 2, or leaves it as it is.
///
/// # Errors
/// When it has neither, or cannot be written: then it is as before.
pub fn migrate(path: &Path) -> Result<(), DatabaseError> {
    let failed = |error| DatabaseError::File(path.to_owned(), error);
    let file = File::open(path).map_err(failed)?;
    file.lock().map_err(failed)?;
    match schema(path)? {
        1 => {
            let lines: String = counted(path)?.iter().map(|id| format!("{id} 2\n")).collect();
            replace(path, &format!("schema 2\n{lines}")).map_err(failed)
        }
        2 => Ok(()),
        found => Err(DatabaseError::Schema { found, needed: 1 }),
    }
}

/// An empty one, if there is none; of two that make it at once, one wins.
fn create(path: &Path, schema: u32) -> io::Result<()> {
    if path.exists() {
        return Ok(());
    }
    let new = path.with_extension(format!("new-{}", std::process::id()));
    std::fs::write(&new, format!("schema {schema}\n"))?;
    let linked = std::fs::hard_link(&new, path);
    std::fs::remove_file(&new)?;
    match linked {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists => Ok(()),
        linked => linked,
    }
}

/// All or nothing: whoever opens the file sees the old or the new one.
fn replace(path: &Path, text: &str) -> io::Result<()> {
    let new = path.with_extension(format!("new-{}", std::process::id()));
    let mut file = File::create(&new)?;
    file.write_all(text.as_bytes())?;
    file.sync_all()?;
    std::fs::rename(&new, path)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_migration_keeps_what_was_counted_and_locks_the_old_release_out() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("db");
        let old = Database::open(&path, 1).unwrap();
        old.count("a", "1").unwrap();
        assert!(matches!(Database::open(&path, 2), Err(DatabaseError::Schema { found: 1, needed: 2 })));
        migrate(&path).unwrap();
        assert!(old.count("b", "1").is_err());
        Database::open(&path, 2).unwrap().count("c", "3").unwrap();
        assert_eq!(counted(&path).unwrap(), ["a", "c"]);
    }
}
