//! What a minder is charged with, and what it answers: JSON on its standard input and output.

use crate::proc::Identity;
use everup_core::ids::StartId;
use everup_core::instance::Slot;
use everup_core::release::ReleaseRef;
use everup_core::time::Millis;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::path::PathBuf;

/// What a minder is charged with. It comes by standard input and not by arguments: the environment holds the app's
/// secrets, and everybody on the machine can read arguments.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Charge {
    /// Names this start; in the environment of every process of it as [`MARK`].
    pub start: StartId,
    /// An app or a migration.
    pub duty: Duty,
    /// Run by `/bin/sh -c`.
    pub command: String,
    /// Where it is run.
    pub folder: PathBuf,
    /// Added to the environment.
    pub env: BTreeMap<String, String>,
    /// The user that it runs as; unset: the minder's own.
    pub user: Option<String>,
    /// Where the minder writes what happens; `.control` and `.lock` beside it are the minder's as well.
    pub state: PathBuf,
    /// Where the output goes.
    pub log: LogTo,
}

/// An app or a migration: what differs between the two.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Duty {
    /// It runs until it is stopped; when its main process ends, the rest of it is ended.
    App {
        /// Its place.
        slot: Slot,
        /// The release that it is of.
        release: ReleaseRef,
        /// Its port.
        port: u16,
        /// From TERM to KILL, unless the order to stop says otherwise.
        stop: Millis,
    },
    /// It runs until its whole process tree has ended, and nobody ends it.
    Migration {
        /// Made before the command is run, and by one only: whoever finds it does not begin.
        begun: PathBuf,
    },
}

/// Where the output goes.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct LogTo {
    /// The file; for an app, rotated ones have `.1`, `.2`… after it; for a migration `.tail` holds the end.
    pub path: PathBuf,
    /// For an app the bytes of one file, for a migration those of its beginning and of its end.
    pub size: u64,
    /// So many rotated files are kept.
    pub keep: u32,
}

/// The variable that marks every process of a start, so that it is found when its minder is dead.
pub const MARK: &str = "EVERUP_START";

/// What a minder answers, as one line, once: its spawner waits for it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Answer {
    /// The command runs, and the state says so.
    Spawned {
        /// Who minds it.
        minder: Identity,
        /// Its main process.
        child: Identity,
    },
    /// It never began.
    Refused {
        /// Why, and what to do about it.
        reason: String,
    },
    /// A migration that was begun, or settled, before.
    BegunBefore,
}
