//! The minder: parent of one app or one migration, so that its end, its output and its exit status outlive every
//! agent.
//!
//! `everup minder <name> <start id>`: the arguments are for people who read `ps`, and by the start's id an agent
//! knows its minder again; the [`Charge`] comes by standard input, to its end, and the [`Answer`] goes to standard
//! output, as one line. Beside the state `<name>.json` the minder has `<name>.lock` (one minder a place, [`lock`]) and
//! `<name>.control` (a named pipe; `stop <start id> <milliseconds>`). TERM is the same as an order to stop with the
//! charge's own deadline.
//!
//! - It is a subreaper: what forks away from the app becomes its child, so "all have ended" is the kernel's word.
//! - It writes its state before the command is run, when it runs, and when all have ended; room for the last is set
//!   aside before, so that a full disk does not lose it.
//! - A migration is begun by whoever creates its `begun` file, and nobody ends it.
//! - It never waits for a disk with the app's output in its hands: what cannot be written is counted instead.

mod charge;
mod control;
mod lock;
mod output;
mod spawn;
mod state;
mod watch;

pub use charge::{Answer, Charge, Duty, LogTo, MARK};
pub use control::{control_of, is_stopping, order_stop};
pub(crate) use lock::{LONGEST_BEGINNING, LOOK_AGAIN, for_minder, is_held, lock_of};
pub(crate) use spawn::become_user;
pub use state::{Ended, How, Place, STATE_FORM, State};

use crate::disk::{Reserve, create_once};
use crate::proc::Identity;
use control::Control;
use output::Output;
use rustix::process::{getpid, set_child_subreaper, setsid};
use std::ffi::OsString;
use std::io::{self, Read, Write};
use std::path::Path;
use std::process::ExitCode;
use watch::{Progress, Watch};

/// The longest charge: it holds an environment, which the kernel limits to about this.
const LONGEST_CHARGE: u64 = 4 << 20;

/// Room for the last state: 20 lines of 400 characters, and the names of what was killed.
const ROOM: u64 = 64 << 10;

/// Runs as a minder; `args` are those after `minder`. It ends when all that it started has ended.
pub fn main(args: impl Iterator<Item = OsString>) -> ExitCode {
    match read_charge(args).and_then(|charge| mind(&charge)) {
        Ok(()) => ExitCode::SUCCESS,
        Err(answer) => {
            answer_with(&answer);
            ExitCode::FAILURE
        }
    }
}

/// Minds what is charged, from before its begin to after its end.
fn mind(charge: &Charge) -> Result<(), Answer> {
    let refused =
        |what: &str, error: &dyn std::fmt::Display| Answer::Refused { reason: format!("{what}: {error}") };
    let own_place =
        |error: io::Error| refused("the minder cannot get a session and signals of its own", &error);
    let signals = detach().map_err(own_place)?;
    let _lock = lock::take(&charge.state)?;
    // An earlier run's state is its outcome: it must not be written over.
    if matches!(&charge.duty, Duty::Migration { begun } if begun.exists()) {
        return Err(Answer::BegunBefore);
    }
    let control =
        Control::open(&charge.state, &charge.start).map_err(|e| refused("the minder's pipe", &e))?;
    let mut output = Output::new(charge).map_err(|e| refused("the minder's log", &e))?;

    let minder =
        Identity::of(std::process::id()).ok_or_else(|| refused("/proc", &"it does not show the minder"))?;
    let mut state = State::before(charge, minder);
    state.write(&charge.state).map_err(|error| refused(&error.to_string(), &error.source))?;
    // Without it the last state needs free space like any other.
    let room = Reserve::set_aside(&charge.state, ROOM).ok();

    begin(charge)?;
    let (child, pipe) = match spawn::spawn(charge) {
        Ok(spawned) => spawned,
        Err(why) => return Err(never_began(&mut state, &charge.state, room, why)),
    };
    // It runs: from here on nothing may keep its end from being seen.
    let _ = output.follow(pipe);
    state.child = Identity::of(child.id());
    let _ = state.write(&charge.state);
    answer_spawned(&state, child.id());

    let (stop, main, progress) = (stop_of(&charge.duty), child.id(), Progress::new());
    state.ended = Some(Watch { signals, control, output, main, stop, progress }.run());
    write_last(&state, &charge.state, room);
    Ok(())
}

fn read_charge(mut args: impl Iterator<Item = OsString>) -> Result<Charge, Answer> {
    let refused = |reason: String| Answer::Refused { reason };
    let start = args.nth(1).ok_or_else(|| refused("a minder needs a name and a start's id".to_owned()))?;
    let mut bytes = Vec::new();
    let read = io::stdin().lock().take(LONGEST_CHARGE).read_to_end(&mut bytes);
    read.map_err(|error| refused(format!("the charge cannot be read: {error}")))?;
    let charge: Charge =
        serde_json::from_slice(&bytes).map_err(|error| refused(format!("the charge is not one: {error}")))?;
    if start != charge.start.as_str() {
        return Err(refused(format!("the arguments name start {start:?}, the charge {}", charge.start)));
    }
    Ok(charge)
}

/// A session of its own, so that no terminal and no group's end takes it along; and all orphans below it.
fn detach() -> io::Result<nix::sys::signalfd::SignalFd> {
    setsid()?;
    std::env::set_current_dir("/")?;
    set_child_subreaper(Some(getpid()))?;
    watch::signals()
}

/// From here on a migration may have run.
fn begin(charge: &Charge) -> Result<(), Answer> {
    let Duty::Migration { begun } = &charge.duty else { return Ok(()) };
    match create_once(begun, charge.start.as_str().as_bytes()) {
        Ok(true) => Ok(()),
        Ok(false) => Err(Answer::BegunBefore),
        Err(error) => Err(Answer::Refused { reason: format!("{error}: {}", error.source) }),
    }
}

fn never_began(state: &mut State, path: &Path, room: Option<Reserve>, why: String) -> Answer {
    state.ended = Some(Ended { how: How::NotBegun(why.clone()), log: Vec::new(), killed: Vec::new() });
    write_last(state, path, room);
    Answer::Refused { reason: why }
}

/// Writes the last state, in the room that was set aside, else wherever there is some.
fn write_last(state: &State, path: &Path, room: Option<Reserve>) {
    let written = room.is_some_and(|room| room.replace(&state.to_bytes()).is_ok());
    if !written {
        // If this fails too, the agent finds a minder that is gone without a word, and says that.
        let _ = state.write(path);
    }
}

fn answer_spawned(state: &State, pid: u32) {
    // A child that has already ended has no identity any more; its PID is enough for a message.
    let gone = || Identity { pid, started: 0, boot: state.minder.boot.clone() };
    let child = state.child.clone().unwrap_or_else(gone);
    answer_with(&Answer::Spawned { minder: state.minder.clone(), child });
}

fn answer_with(answer: &Answer) {
    let line = serde_json::to_string(answer).expect("an answer has only text keys");
    // Whoever wanted to know may be gone; the state says the same.
    let _ = writeln!(io::stdout(), "{line}");
}

const fn stop_of(duty: &Duty) -> Option<everup_core::time::Millis> {
    match duty {
        Duty::App { stop, .. } => Some(*stop),
        Duty::Migration { .. } => None,
    }
}
