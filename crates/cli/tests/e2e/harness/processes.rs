//! The processes of one fleet: who they are, by what they wrote down, and their end.

use everup_host::local::ledger::Ledger;
use everup_host::minder::State;
use everup_host::proc::{Identity, below};
use rustix::process::{Pid, Signal, kill_process};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

/// In the environment of everything that a test starts: its folder.
pub(crate) const MARK: &str = "EVERUP_TEST_FOLDER";

/// Sends a signal to a process of ours.
pub(crate) fn signal(pid: u32, signal: Signal) {
    let pid = Pid::from_raw(i32::try_from(pid).unwrap()).unwrap();
    kill_process(pid, signal)
        .unwrap_or_else(|error| panic!("{} could not be signalled: {error}", pid.as_raw_nonzero()));
}

/// Stops a process of ours; done when no thread of it runs on. A STOP is taken by one thread, and on a busy machine the
/// others go on until that one gets its turn.
pub(crate) fn freeze(pid: u32) {
    signal(pid, Signal::STOP);
    super::until("every thread to stand still", || {
        let threads = fs::read_dir(format!("/proc/{pid}/task")).ok()?.flatten();
        let is_stopped = |stat: &str| stat.rsplit_once(") ").is_some_and(|(_, rest)| rest.starts_with('T'));
        let mut states = threads.filter_map(|thread| fs::read_to_string(thread.path().join("stat")).ok());
        states.all(|stat| is_stopped(&stat)).then_some(())
    });
}

/// What the keeper wrote of its children.
pub(crate) fn ledger(state: &Path) -> Option<Ledger> {
    serde_json::from_slice(&fs::read(state.join("run/keeper.json")).ok()?).ok()
}

/// The minders of an instance whose app runs, and what they mind.
pub(crate) fn minders(instance: &Path) -> Vec<State> {
    let files = fs::read_dir(instance).into_iter().flatten().filter_map(Result::ok).map(|entry| entry.path());
    let states = files.filter(|path| path.extension().is_some_and(|ending| ending == "json"));
    let states = states.filter_map(|path| State::read(&path)).filter(|state| state.ended.is_none());
    states.filter(|state| state.minder.lives() || state.child.as_ref().is_some_and(Identity::lives)).collect()
}

/// What belongs to `folder` and runs, with all that it has started: nginx writes over its environment.
pub(crate) fn left(folder: &Path) -> Vec<i32> {
    let marked: Vec<i32> = all().into_iter().filter(|pid| belongs(*pid, folder)).collect();
    let started = |pid: &i32| below(pid.unsigned_abs()).into_iter().map(|stat| stat.pid.cast_signed());
    marked
        .iter()
        .flat_map(started)
        .chain(marked.iter().copied())
        .collect::<BTreeSet<_>>()
        .into_iter()
        .collect()
}

/// Ends all that belongs to `folder`, the keeper and those who start others first; done when nothing is left.
pub(crate) fn sweep(folder: &Path) {
    for _ in 0..100 {
        let found = left(folder);
        if found.is_empty() {
            return;
        }
        for pid in found {
            let _ = Pid::from_raw(pid).map(|pid| kill_process(pid, Signal::KILL));
        }
        std::thread::park_timeout(super::LOOK);
    }
    eprintln!("processes of {} could not be ended", folder.display());
}

/// Every process, the oldest first.
fn all() -> Vec<i32> {
    let names = fs::read_dir("/proc").into_iter().flatten().filter_map(Result::ok);
    let mut pids: Vec<i32> = names.filter_map(|name| name.file_name().to_str()?.parse().ok()).collect();
    pids.sort_unstable();
    pids
}

fn belongs(pid: i32, folder: &Path) -> bool {
    let mark = folder.as_os_str().as_encoded_bytes();
    let this = i32::try_from(std::process::id()).unwrap();
    let holds = |file: &str| {
        let text = fs::read(format!("/proc/{pid}/{file}")).unwrap_or_default();
        text.windows(mark.len()).any(|window| window == mark)
    };
    pid != this && (holds("environ") || holds("cmdline"))
}
