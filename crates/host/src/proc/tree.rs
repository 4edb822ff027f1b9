//! Which processes belong to a start: all that descend from its minder, or, when that is dead, all that bear its mark.

use super::{Stat, all};
use std::collections::BTreeSet;
use std::fs;

/// All living processes that descend from `root`, which is not among them.
///
/// A subreaper's whole tree, however its processes forked and whatever sessions they made: those whose parent died
/// have become its children.
#[must_use]
pub fn below(root: u32) -> Vec<Stat> {
    let all = all();
    let pids = descendants(&all, BTreeSet::from([root]));
    all.into_iter().filter(|stat| stat.pid != root && pids.contains(&stat.pid)).collect()
}

/// Whether `pid` descends from `root`; follows its parents, so it costs little.
#[must_use]
pub fn in_tree(root: u32, pid: u32) -> bool {
    // A chain longer than this is a loop that PIDs used again made while we were looking.
    let mut pid = pid;
    for _ in 0..1_000 {
        match Stat::read(pid) {
            Some(stat) if stat.parent == root => return true,
            Some(stat) if stat.parent > 1 => pid = stat.parent,
            _ => return false,
        }
    }
    false
}

/// All living processes that bear `mark` ("NAME=value") in the environment that they were started with, those in
/// a session of `minder` if one that bears the mark is in it, and all that descend from either.
///
/// For trees whose minder is dead, and with it the kernel's knowledge of who belongs together. What cleared its
/// environment, left its session and lost its parent is not found.
#[must_use]
pub fn marked(mark: &str, minder: u32) -> Vec<Stat> {
    let all = all();
    let mut pids: BTreeSet<u32> =
        all.iter().filter(|stat| bears(stat.pid, mark)).map(|stat| stat.pid).collect();
    // A session's number alone proves nothing after a restart; that one of ours is in it does. Nor does 0: so reads the
    // session of everything whose session is another PID namespace's, and that can be the whole machine.
    if minder != 0 && all.iter().any(|stat| stat.session == minder && pids.contains(&stat.pid)) {
        pids.extend(all.iter().filter(|stat| stat.session == minder).map(|stat| stat.pid));
    }
    let pids = descendants(&all, pids);
    all.into_iter().filter(|stat| pids.contains(&stat.pid)).collect()
}

fn bears(pid: u32, mark: &str) -> bool {
    let environ = fs::read(format!("/proc/{pid}/environ")).unwrap_or_default();
    environ.split(|byte| *byte == 0).any(|variable| variable == mark.as_bytes())
}

/// `pids` and all that descend from them.
fn descendants(all: &[Stat], mut pids: BTreeSet<u32>) -> BTreeSet<u32> {
    loop {
        let more: Vec<u32> = all
            .iter()
            .filter(|stat| !pids.contains(&stat.pid) && pids.contains(&stat.parent))
            .map(|stat| stat.pid)
            .collect();
        if more.is_empty() {
            return pids;
        }
        pids.extend(more);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Read;

    fn stat(pid: u32, parent: u32) -> Stat {
        Stat { pid, parent, session: 1, name: "x".to_owned(), state: 'S', started: 1 }
    }

    #[test]
    fn descendants_are_found_in_any_order() {
        let all = [stat(9, 8), stat(8, 7), stat(7, 1), stat(6, 1)];
        assert_eq!(descendants(&all, BTreeSet::from([7])), BTreeSet::from([7, 8, 9]));
        assert_eq!(descendants(&all, BTreeSet::new()), BTreeSet::new());
    }

    #[test]
    fn a_marked_process_is_found_and_its_child_that_lost_the_mark() {
        let mut child = std::process::Command::new("sh")
            .args(["-c", "env -i sh -c 'echo; read x'; true"])
            .env("EVERUP_TEST_MARK", "tree-1")
            .stdin(std::process::Stdio::piped())
            .stdout(std::process::Stdio::piped())
            .spawn()
            .unwrap();
        // One byte comes when the program after `env -i` runs.
        child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
        let found = marked("EVERUP_TEST_MARK=tree-1", 0);
        let lost: Vec<&Stat> =
            found.iter().filter(|stat| !bears(stat.pid, "EVERUP_TEST_MARK=tree-1")).collect();
        assert_eq!((found.len(), lost.len()), (2, 1), "{found:?}");
        assert!(in_tree(child.id(), lost[0].pid));
        assert!(below(child.id()).iter().any(|stat| stat.pid == lost[0].pid));
        drop(child.stdin.take());
        child.wait().unwrap();
        assert_eq!(marked("EVERUP_TEST_MARK=tree-1", 0), []);
    }
}
