//! Words that may not stay in the sources: what is unfinished, and tests that do not run.

use crate::cargo::root;
use crate::counts::Counts;
use std::fs;
use std::path::{Path, PathBuf};

/// Each is put together here, so that this file does not hold it.
const WORDS: [(&str, &str, &str); 9] = [
    ("todo", "!(", "it is unfinished"),
    ("unimplemented", "!(", "it is unfinished"),
    ("dbg", "!(", "it was for looking"),
    ("#[ign", "ore", "a test that does not run is none"),
    ("#[al", "low(", "use #[expect(…, reason = \"…\")]"),
    ("#![al", "low(", "use #![expect(…, reason = \"…\")]"),
    ("FIX", "ME", "it is unfinished"),
    ("TO", "DO", "it is unfinished"),
    ("XX", "X", "it is unfinished"),
];

/// Looks through every Rust file.
pub(crate) fn scan() -> Result<Counts, String> {
    let mut files = Vec::new();
    for folder in ["crates", "xtask"] {
        collect(&root().join(folder), &mut files)?;
    }
    let found: Vec<_> = files.iter().map(|file| complaints(file)).collect::<Result<Vec<_>, _>>()?.concat();
    for line in &found {
        println!("{line}");
    }
    println!("{} files", files.len());
    Ok(Counts::one(found.is_empty() && !files.is_empty()))
}

fn complaints(file: &Path) -> Result<Vec<String>, String> {
    let text = fs::read_to_string(file).map_err(|error| format!("{}: {error}", file.display()))?;
    let shown = file.strip_prefix(root()).unwrap_or(file).display().to_string();
    let mut found = Vec::new();
    for (number, line) in text.lines().enumerate() {
        for (head, tail, why) in WORDS {
            if line.contains(&format!("{head}{tail}")) {
                found.push(format!("{shown}:{}: {head}{tail}: {why}", number + 1));
            }
        }
    }
    Ok(found)
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<(), String> {
    let entries = fs::read_dir(folder).map_err(|error| format!("{}: {error}", folder.display()))?;
    for entry in entries.filter_map(Result::ok) {
        let path = entry.path();
        if path.is_dir() {
            collect(&path, files)?;
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            files.push(path);
        }
    }
    Ok(())
}
