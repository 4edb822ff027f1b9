//! An instance's memory as a file: replaced whole, read whole, refused when its form is unknown.

use crate::disk::atomic_write;
use everup_core::instance::{Memory, Problem};
use everup_core::seams::Journal;
use std::io;
use std::path::{Path, PathBuf};

/// The form of [`Memory`] that this version writes, and the highest that it reads.
pub const MEMORY_FORM: u32 = 1;

/// The longest journal that is read: one holds an order and a few problems, some kilobytes.
const LONGEST: u64 = 16 << 20;

/// The journal in `journal.json`.
///
/// It writes on the caller's thread: a write that could be left behind by a dropped future might land after a
/// later one, and so bring back an older memory.
#[derive(Debug, Clone)]
pub struct FileJournal {
    path: PathBuf,
}

impl FileJournal {
    /// The journal at `path`; nothing is read or made yet.
    #[must_use]
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { path: path.into() }
    }
}

impl Journal for FileJournal {
    async fn load(&self) -> Result<Memory, Problem> {
        match read_bounded(&self.path) {
            Ok(bytes) => parse(&self.path, &bytes),
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                Ok(Memory { form: MEMORY_FORM, ..Memory::default() })
            }
            Err(error) => Err(problem(&self.path, &format!("cannot be read: {error}"))),
        }
    }

    async fn save(&self, memory: &Memory) -> Result<(), Problem> {
        let memory = Memory { form: MEMORY_FORM, ..memory.clone() };
        let bytes = serde_json::to_vec_pretty(&memory).expect("a memory has only text keys");
        atomic_write(&self.path, &bytes)
            .map_err(|error| Problem::new("journal", format!("{error}: {}", error.source)))
    }
}

fn read_bounded(path: &Path) -> io::Result<Vec<u8>> {
    let size = std::fs::metadata(path)?.len();
    if size > LONGEST {
        return Err(io::Error::other(format!("it has {size} bytes, more than the {LONGEST} of any journal")));
    }
    std::fs::read(path)
}

/// Only the form, so that a document of a later one is told from a damaged one.
#[derive(serde::Deserialize)]
struct Form {
    form: u32,
}

fn parse(path: &Path, bytes: &[u8]) -> Result<Memory, Problem> {
    let damaged = |error: serde_json::Error| {
        let remedy = "move it away only if this instance may forget which orders it obeyed";
        problem(path, &format!("is no journal ({error}); {remedy}"))
    };
    let Form { form } = serde_json::from_slice(bytes).map_err(damaged)?;
    if !(1..=MEMORY_FORM).contains(&form) {
        let remedy = "run the version of everup that wrote it, or a later one";
        return Err(problem(
            path,
            &format!("has form {form}, this version reads up to {MEMORY_FORM}; {remedy}"),
        ));
    }
    serde_json::from_slice(bytes).map_err(damaged)
}

fn problem(path: &Path, reason: &str) -> Problem {
    Problem::new("journal", format!("{} {reason}", path.display()))
}

#[cfg(test)]
mod tests {
    use super::*;
    use everup_core::ids::{Fence, Rev, Term};

    fn memory(term: u64) -> Memory {
        Memory { fence: Fence { term: Term(term), rev: Rev(2) }, form: MEMORY_FORM, ..Memory::default() }
    }

    #[tokio::test]
    async fn what_was_saved_is_loaded_and_a_new_instance_has_an_empty_memory() {
        let folder = tempfile::tempdir().unwrap();
        let journal = FileJournal::new(folder.path().join("journal.json"));
        assert_eq!(journal.load().await.unwrap(), Memory { form: MEMORY_FORM, ..Memory::default() });
        journal.save(&memory(7)).await.unwrap();
        assert_eq!(journal.load().await.unwrap(), memory(7));
    }

    #[tokio::test]
    async fn a_failing_write_is_told_and_the_old_memory_stays() {
        let folder = tempfile::tempdir().unwrap();
        let journal = FileJournal::new(folder.path().join("journal.json"));
        journal.save(&memory(7)).await.unwrap();
        std::fs::create_dir(folder.path().join(".journal.json.new")).unwrap();
        let problem = journal.save(&memory(8)).await.unwrap_err();
        assert!(problem.reason.contains("journal.json") && problem.reason.contains("bytes"), "{problem}");
        assert_eq!(journal.load().await.unwrap(), memory(7));
        std::fs::remove_dir(folder.path().join(".journal.json.new")).unwrap();
        journal.save(&memory(8)).await.unwrap();
        assert_eq!(journal.load().await.unwrap(), memory(8));
    }

    #[tokio::test]
    async fn an_unknown_form_or_a_damaged_file_is_refused_never_forgotten() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("journal.json");
        let journal = FileJournal::new(&path);
        for (text, said) in
            [(r#"{"form":99}"#, "form 99"), (r#"{"form":1,"#, "no journal"), ("", "no journal")]
        {
            std::fs::write(&path, text).unwrap();
            let problem = journal.load().await.unwrap_err();
            assert!(problem.reason.contains(said), "{problem}");
            assert_eq!(std::fs::read_to_string(&path).unwrap(), text);
        }
    }
}
