//! Migrations: each run at most once, whatever dies when, and its outcome told as far as it is known.

use super::ProcessRuntime;
use super::wait::{ended, marked_ended};
use crate::adopt::{Standing, mark, standing};
use crate::clock::KernelChance;
use crate::disk::create_once;
use crate::logs::last_lines;
use crate::minder::{Answer, Charge, Duty, Ended, How, LogTo, State};
use everup_core::ids::StartId;
use everup_core::instance::{Outcome, Run};
use everup_core::seams::Chance;
use std::fs;
use std::path::{Path, PathBuf};

/// What stands in `begun` when a run was settled before anybody began it. No start has this id.
const SETTLED: &[u8] = b"settled";

/// The bytes that are kept of the beginning of a migration's output, and of its end.
const OUTPUT: u64 = 1 << 20;

/// The runs of so many deployments stay on disk.
const KEPT: usize = 16;

/// Where one run's files are.
struct Place {
    folder: PathBuf,
}

impl Place {
    fn begun(&self) -> PathBuf {
        self.folder.join("begun")
    }

    fn state(&self) -> PathBuf {
        self.folder.join("run.json")
    }

    fn log(&self) -> PathBuf {
        self.folder.join("run.log")
    }

    /// The last lines, of the end if the output was long.
    fn last_lines(&self) -> Vec<String> {
        let tail = self.folder.join("run.log.tail");
        if tail.exists() { last_lines(&tail) } else { last_lines(&self.log()) }
    }
}

/// What is known of a run.
enum Known {
    NotBegun,
    Running(State),
    /// Its minder is gone; its processes may live.
    Lost(State),
    Ended(Outcome),
}

impl ProcessRuntime {
    pub(super) async fn run_to_its_end(&self, run: &Run) -> Outcome {
        loop {
            match self.known(run) {
                Known::NotBegun => {
                    if let Some(outcome) = self.begin(run).await {
                        return outcome;
                    }
                }
                Known::Running(state) => {
                    if let Err(error) = ended(&state.minder).await {
                        tracing::error!("waiting for the migration's minder: {error}");
                        std::future::pending::<()>().await;
                    }
                    self.reap();
                }
                Known::Lost(state) => {
                    // Told only when it is over: an operator may have it run again then.
                    marked_ended(&mark(&state), state.minder.pid).await;
                    return self.unseen(run, "its minder was killed, nobody saw how it ended");
                }
                Known::Ended(outcome) => return outcome,
            }
        }
    }

    pub(super) async fn settle_run(&self, run: &Run) -> Option<Outcome> {
        let place = self.place(run);
        let settled = fs::create_dir_all(&place.folder)
            .map_err(|error| error.to_string())
            .and_then(|()| create_once(&place.begun(), SETTLED).map_err(|error| error.to_string()));
        match (settled, self.known(run)) {
            (Ok(true), _) => Some(Outcome::never_began("it was settled before it began")),
            (Ok(false), Known::Ended(outcome)) => Some(outcome),
            (Ok(false), Known::Lost(state))
                if crate::proc::marked(&mark(&state), state.minder.pid).is_empty() =>
            {
                Some(self.unseen(run, "its minder was killed, nobody saw how it ended"))
            }
            (Ok(false), _) => None,
            (Err(error), _) => {
                tracing::warn!("migration {} cannot be settled: {error}", run.migration);
                None
            }
        }
    }

    fn known(&self, run: &Run) -> Known {
        let place = self.place(run);
        let Ok(begun) = fs::read(place.begun()) else { return Known::NotBegun };
        if begun == SETTLED {
            return Known::Ended(Outcome::never_began("it was settled before it began"));
        }
        // The minder writes its state before it creates `begun`.
        let state = State::read(&place.state()).filter(|state| state.start.as_str().as_bytes() == begun);
        let Some(state) = state else {
            return Known::Ended(self.unseen(run, "what its minder wrote of it is gone"));
        };
        match standing(&state) {
            Standing::Minded => Known::Running(state),
            Standing::Lost => Known::Lost(state),
            Standing::Rebooted => Known::Ended(self.unseen(run, "the machine was restarted while it ran")),
            Standing::Ended => Known::Ended(outcome_of(run, state.ended)),
        }
    }

    /// Begins a run; an outcome only if it will never begin.
    async fn begin(&self, run: &Run) -> Option<Outcome> {
        let place = self.place(run);
        self.forget_old_runs();
        let made = self.setup.make_folders().and_then(|()| {
            fs::create_dir_all(&place.folder).map_err(|error| format!("{}: {error}", place.folder.display()))
        });
        if let Err(reason) = made {
            tracing::error!("migration {} was not begun: {reason}", run.migration);
            return Some(Outcome::never_began(reason));
        }
        let Answer::Refused { reason } = self.charge("run", &self.charge_of(run, &place)).await else {
            return None;
        };
        tracing::error!("migration {} was not begun: {reason}", run.migration);
        // Whoever is about to begin it after all comes too late from here on, or was first.
        self.settle_run(run).await.filter(Outcome::is_never_begun).map(|_| Outcome::never_began(reason))
    }

    fn charge_of(&self, run: &Run, place: &Place) -> Charge {
        let mut env = self.env_of(&run.release);
        let ours = [
            ("EVERUP_MIGRATION_ID", run.migration.to_string()),
            ("EVERUP_MIGRATION_ATTEMPT", run.attempt.to_string()),
            ("EVERUP_ENVIRONMENT", run.environment.to_string()),
        ];
        env.extend(ours.map(|(name, value)| (name.to_owned(), value)));
        Charge {
            start: random_start(),
            duty: Duty::Migration { begun: place.begun() },
            command: run.command.0.clone(),
            folder: self.releases.folder(&run.release),
            env,
            user: self.setup.app.user.clone(),
            state: place.state(),
            log: LogTo { path: place.log(), size: OUTPUT, keep: 1 },
        }
    }

    fn unseen(&self, run: &Run, reason: &str) -> Outcome {
        Outcome::Unknown { reason: reason.to_owned(), log: self.place(run).last_lines() }
    }

    fn place(&self, run: &Run) -> Place {
        let undo = if run.undo { "-undo" } else { "" };
        let name = format!("{}-{}{undo}", run.migration, run.attempt);
        Place { folder: self.runs().join(run.deployment.as_str()).join(name) }
    }

    fn runs(&self) -> PathBuf {
        self.setup.folder.join("runs")
    }

    /// Deployments' names sort by time: the oldest go.
    fn forget_old_runs(&self) {
        let mut names = names_in(&self.runs());
        names.sort();
        for old in names.iter().rev().skip(KEPT) {
            // What stays is tried again the next time.
            let _ = fs::remove_dir_all(old);
        }
    }
}

fn names_in(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

fn random_start() -> StartId {
    StartId::new(format!("run-{:016x}", KernelChance.next())).expect("hex digits are an id")
}

fn outcome_of(run: &Run, ended: Option<Ended>) -> Outcome {
    let unknown = |reason: String, log| Outcome::Unknown { reason, log };
    match ended {
        Some(Ended { how: How::Exited(code), log, .. }) => Outcome::Exited { code, log },
        Some(Ended { how: How::NotBegun(why), .. }) => Outcome::never_began(why),
        Some(Ended { how: how @ How::Signalled(_), log, .. }) => {
            unknown(format!("migration {} was ended by {how}", run.migration), log)
        }
        Some(Ended { how: How::Unseen(why), log, .. }) => unknown(why, log),
        None => unknown(format!("the end of migration {} was not written", run.migration), Vec::new()),
    }
}
