//! Patient apps (`apps/patient.py`): a test stops them in a step of their lives, and lets them go on.

use super::{Program, Shop, until};
use everup_core::ids::InstanceId;
use std::fs;
use std::path::PathBuf;

/// A step that an instance is in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Step {
    Staging,
    Draining,
    Stopping,
    Migrating,
    Starting,
}

impl Step {
    pub(crate) const ALL: [Self; 5] =
        [Self::Staging, Self::Draining, Self::Stopping, Self::Migrating, Self::Starting];

    const fn name(self) -> &'static str {
        match self {
            Self::Staging => "staging",
            Self::Draining => "draining",
            Self::Stopping => "stopping",
            Self::Migrating => "migrating",
            Self::Starting => "starting",
        }
    }
}

impl Shop {
    /// Publishes patient apps, who wait for nothing yet.
    #[track_caller]
    pub(crate) fn publish_patient(&self, versions: &[&str]) {
        self.unblock_all();
        for version in versions {
            self.publish(version, &Program::patient());
        }
    }

    /// Whoever comes to a step goes on.
    pub(crate) fn unblock_all(&self) {
        Step::ALL.into_iter().for_each(|step| self.unblock(step));
    }

    /// Whoever comes to `step` from now on waits in it.
    #[track_caller]
    pub(crate) fn block(&self, step: Step) {
        self.forget(step);
        fs::remove_file(self.go(step)).unwrap();
    }

    /// Whoever waits in `step` goes on.
    pub(crate) fn unblock(&self, step: Step) {
        fs::write(self.go(step), "").unwrap();
    }

    /// Who has come to `step` before does not count.
    pub(crate) fn forget(&self, step: Step) {
        let _ = fs::remove_file(self.told(step));
    }

    /// Waits until somebody comes to `step`: on which instance, and which process.
    #[track_caller]
    pub(crate) fn comes_to(&self, step: Step) -> (InstanceId, u32) {
        until(step.name(), || {
            let text = fs::read_to_string(self.told(step)).ok()?;
            let (instance, app) = text.lines().next()?.split_once(' ')?;
            Some((instance.parse().ok()?, app.parse().ok()?))
        })
    }

    fn told(&self, step: Step) -> PathBuf {
        self.path().join(format!("at-{}", step.name()))
    }

    fn go(&self, step: Step) -> PathBuf {
        self.path().join(format!("go-{}", step.name()))
    }
}
