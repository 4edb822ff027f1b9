//! Which processes of an earlier agent are ours: PID, start time and boot id agree, and the process itself bears
//! the start's name. A stranger that got a PID of ours is never taken for one, and never signalled.

use crate::minder::{MARK, State};
use crate::proc::boot_id;
use std::fs;

/// What a minder's state says about the present.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Standing {
    /// Its minder lives, and says itself that it minds this start.
    Minded,
    /// It ended, and the state says how.
    Ended,
    /// Its minder is gone without a word: killed, or the disk refused its last words.
    Lost,
    /// The machine was restarted since: nothing of it lives.
    Rebooted,
}

/// Where what `state` tells of stands now.
#[must_use]
pub fn standing(state: &State) -> Standing {
    if state.ended.is_some() {
        Standing::Ended
    } else if state.minder.boot != boot_id() {
        Standing::Rebooted
    } else if state.minder.lives() && names(state.minder.pid, state.start.as_str()) {
        Standing::Minded
    } else {
        Standing::Lost
    }
}

/// What every process of this start bears in its environment.
#[must_use]
pub fn mark(state: &State) -> String {
    format!("{MARK}={}", state.start)
}

/// Whether the arguments of `pid` name `start`. A start's id is random: no stranger has it among its arguments.
fn names(pid: u32, start: &str) -> bool {
    let arguments = fs::read(format!("/proc/{pid}/cmdline")).unwrap_or_default();
    arguments.split(|byte| *byte == 0).any(|argument| argument == start.as_bytes())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::minder::{Ended, How, STATE_FORM};
    use crate::proc::Identity;
    use everup_core::ids::StartId;
    use std::io::Read;
    use std::process::{Command, Stdio};

    fn state(minder: Identity) -> State {
        let start = StartId::new("s-adopt-1").unwrap();
        State { form: STATE_FORM, start, place: None, minder, child: None, ended: None }
    }

    #[test]
    fn only_a_process_that_names_the_start_and_agrees_in_all_is_a_minder() {
        // Until the shell has said something its arguments may not be there: `spawn` is back a moment before that.
        let sh = |arguments: &[&str]| {
            let mut shell = Command::new("sh");
            shell.args(["-c", "echo; read x"]).args(arguments).stdin(Stdio::piped()).stdout(Stdio::piped());
            let mut child = shell.spawn().unwrap();
            child.stdout.take().unwrap().read_exact(&mut [0]).unwrap();
            child
        };
        let (mut minder, mut stranger) = (sh(&["app-a", "s-adopt-1"]), sh(&[]));
        let [ours, other] = [&minder, &stranger].map(|child| Identity::of(child.id()).unwrap());
        assert_eq!(standing(&state(ours.clone())), Standing::Minded);
        assert_eq!(standing(&state(other)), Standing::Lost, "PID and start time alone are not enough");
        let reborn = Identity { started: ours.started + 1, ..ours.clone() };
        assert_eq!(standing(&state(reborn)), Standing::Lost);
        let before = Identity { boot: "an earlier one".to_owned(), ..ours.clone() };
        assert_eq!(standing(&state(before)), Standing::Rebooted);
        let ended = Some(Ended { how: How::Exited(0), log: vec![], killed: vec![] });
        assert_eq!(standing(&State { ended, ..state(ours) }), Standing::Ended);
        for child in [&mut minder, &mut stranger] {
            drop(child.stdin.take());
            child.wait().unwrap();
        }
    }
}
