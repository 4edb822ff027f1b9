//! What a minder writes to disk: who runs, and how it ended.

use super::Charge;
use crate::disk::{Unwritten, atomic_write};
use crate::proc::Identity;
use everup_core::ids::StartId;
use everup_core::instance::{Running, Slot};
use everup_core::release::ReleaseRef;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::path::Path;

/// The form of [`State`] that this version writes; it reads no other.
pub const STATE_FORM: u32 = 1;

/// What a minder knows, on disk: written before the command is run, when it runs, and when all of it has ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// The form of this document.
    pub form: u32,
    /// Which start.
    pub start: StartId,
    /// The app's place and release; nothing for a migration.
    pub place: Option<Place>,
    /// Who minds it.
    pub minder: Identity,
    /// Its main process; nothing before it was made.
    pub child: Option<Identity>,
    /// How it ended, when no process of it lives any more.
    pub ended: Option<Ended>,
}

/// Where an app runs, and which.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Place {
    /// Its place.
    pub slot: Slot,
    /// Its release.
    pub release: ReleaseRef,
    /// Its port.
    pub port: u16,
    /// So many bytes of the log are earlier starts'.
    #[serde(default)]
    pub log_from: u64,
}

/// How a command ended, with all that it started.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Ended {
    /// How its main process ended.
    pub how: How,
    /// The last lines that it wrote.
    pub log: Vec<String>,
    /// What had to be killed because it outlived the deadline.
    pub killed: Vec<String>,
}

/// How a main process ended.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// With this exit status.
    Exited(i32),
    /// By this signal.
    Signalled(i32),
    /// It never began: what prevented it.
    NotBegun(String),
    /// Nobody saw its end: why.
    Unseen(String),
}

impl State {
    /// The state before the command is run.
    #[must_use]
    pub fn before(charge: &Charge, minder: Identity) -> Self {
        let place = match &charge.duty {
            super::Duty::App { slot, release, port, .. } => {
                let log_from = std::fs::metadata(&charge.log.path).map_or(0, |log| log.len());
                Some(Place { slot: *slot, release: release.clone(), port: *port, log_from })
            }
            super::Duty::Migration { .. } => None,
        };
        Self { form: STATE_FORM, start: charge.start.clone(), place, minder, child: None, ended: None }
    }

    /// Reads the state at `path`; nothing if there is none, or none of a form that is known.
    #[must_use]
    pub fn read(path: &Path) -> Option<Self> {
        let state: Self = serde_json::from_slice(&std::fs::read(path).ok()?).ok()?;
        (state.form == STATE_FORM).then_some(state)
    }

    /// Replaces the state at `path`.
    ///
    /// # Errors
    /// When the disk refuses.
    pub fn write(&self, path: &Path) -> Result<(), Unwritten> {
        atomic_write(path, &self.to_bytes())
    }

    pub(super) fn to_bytes(&self) -> Vec<u8> {
        serde_json::to_vec(self).expect("a state has only text keys")
    }

    /// The app that this state is of.
    #[must_use]
    pub fn running(&self) -> Option<Running> {
        let place = self.place.as_ref()?;
        let address = (std::net::Ipv4Addr::LOCALHOST, place.port).into();
        let upstream = everup_core::gate::Upstream { address, start: self.start.clone() };
        Some(Running { slot: place.slot, release: place.release.clone(), upstream })
    }
}

impl fmt::Display for How {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Exited(code) => write!(f, "exit status {code}"),
            Self::Signalled(signal) => match signal_name(*signal) {
                Some(name) => write!(f, "signal {signal} ({name})"),
                None => write!(f, "signal {signal}"),
            },
            Self::NotBegun(why) => write!(f, "it never began: {why}"),
            Self::Unseen(why) => f.write_str(why),
        }
    }
}

fn signal_name(signal: i32) -> Option<&'static str> {
    let signal = nix::sys::signal::Signal::try_from(signal).ok()?;
    signal.as_str().strip_prefix("SIG")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ends_are_told_as_people_say_them() {
        assert_eq!(How::Exited(1).to_string(), "exit status 1");
        assert_eq!(How::Signalled(9).to_string(), "signal 9 (KILL)");
        assert_eq!(How::Signalled(64).to_string(), "signal 64");
    }

    #[test]
    fn a_state_of_another_form_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app-a.json");
        assert_eq!(State::read(&path), None);
        let minder = Identity { pid: 1, started: 2, boot: "b".to_owned() };
        let start = StartId::new("s-1").unwrap();
        let mut state = State { form: STATE_FORM, start, place: None, minder, child: None, ended: None };
        state.write(&path).unwrap();
        assert_eq!(State::read(&path).as_ref(), Some(&state));
        state.form = 2;
        state.write(&path).unwrap();
        assert_eq!(State::read(&path), None);
    }
}
