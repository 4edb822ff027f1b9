//! Which folders some process of this machine has open, as far as the kernel shows them to us.

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

/// Those of `folders` that a process works in, runs a program of, or has a file of open.
pub(super) fn in_use(folders: &[PathBuf]) -> BTreeSet<PathBuf> {
    let mut used = BTreeSet::new();
    let mut note = |link: &Path| {
        // A process that ended meanwhile, or is another user's, shows nothing.
        if let Ok(target) = fs::read_link(link)
            && let Some(folder) = folders.iter().find(|folder| target.starts_with(folder))
        {
            used.insert(folder.clone());
        }
    };
    for process in fs::read_dir("/proc").into_iter().flatten().flatten() {
        if !process.file_name().as_encoded_bytes()[0].is_ascii_digit() {
            continue;
        }
        let process = process.path();
        for link in ["cwd", "exe", "root"] {
            note(&process.join(link));
        }
        for open in fs::read_dir(process.join("fd")).into_iter().flatten().flatten() {
            note(&open.path());
        }
    }
    used
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_folder_with_an_open_file_is_in_use() {
        let here = tempfile::tempdir().unwrap();
        let root = here.path().canonicalize().unwrap();
        let (used, free) = (root.join("used"), root.join("free"));
        for folder in [&used, &free] {
            fs::create_dir(folder).unwrap();
            fs::write(folder.join("file"), "x").unwrap();
        }
        let open = fs::File::open(used.join("file")).unwrap();
        assert_eq!(in_use(&[used.clone(), free]), BTreeSet::from([used]));
        drop(open);
    }
}
