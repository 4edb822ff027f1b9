//! What a runtime is made of: where the instance lives, how its app is run, how it is judged.

use crate::settings;
use everup_core::ids::{Environment, InstanceId, Zone};
use everup_core::instance::Slot;
use everup_core::release::{Command, ReleaseRef};
use std::collections::BTreeMap;
use std::ffi::OsString;
use std::path::PathBuf;

/// What a [`super::ProcessRuntime`] is made of.
#[derive(Debug, Clone)]
pub struct Setup {
    /// The program that is a minder, and the arguments that make it one: `["/usr/bin/everup", "minder"]`.
    pub minder: Vec<OsString>,
    /// The instance's own folder, `instances/<id>`; made if missing.
    pub folder: PathBuf,
    /// Which instance.
    pub instance: InstanceId,
    /// Its zone, told to the app.
    pub zone: Zone,
    /// Its environment, told to the app.
    pub environment: Environment,
    /// The port of slot A and of slot B.
    pub ports: [u16; 2],
    /// How the app is run.
    pub app: settings::App,
    /// How it is judged.
    pub health: settings::Health,
    /// What is kept of its output.
    pub log: settings::Log,
}

impl Setup {
    /// The port of `slot`.
    #[must_use]
    pub const fn port(&self, slot: Slot) -> u16 {
        match slot {
            Slot::A => self.ports[0],
            Slot::B => self.ports[1],
        }
    }

    /// The name of `slot` in files and messages: "app-a", "app-b".
    #[must_use]
    pub const fn name(slot: Slot) -> &'static str {
        match slot {
            Slot::A => "app-a",
            Slot::B => "app-b",
        }
    }

    /// Where the app may keep what is its own, EVERUP_DATA.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The log of the app in `slot`; rotated ones have `.1`, `.2`… after it.
    #[must_use]
    pub fn log_of(&self, slot: Slot) -> PathBuf {
        self.folder.join("log").join(format!("{}.log", Self::name(slot)))
    }

    /// What the minder of `slot` writes.
    #[must_use]
    pub fn state_of(&self, slot: Slot) -> PathBuf {
        self.folder.join(format!("{}.json", Self::name(slot)))
    }
}

/// Where releases are on this machine's disk, and what they say of their own start.
pub trait Releases {
    /// The folder in which `release` is unpacked.
    fn folder(&self, release: &ReleaseRef) -> PathBuf;
    /// The command that the release itself brings; it goes before the instance's.
    fn command(&self, release: &ReleaseRef) -> Option<Command>;
    /// Variables from the release's configuration; they go before the instance's.
    fn env(&self, _release: &ReleaseRef) -> BTreeMap<String, String> {
        BTreeMap::new()
    }
}

/// Releases in `<folder>/<version>-<first 12 digits of the manifest's digest>`, started by the instance's command.
#[derive(Debug, Clone)]
pub struct Folders(pub PathBuf);

impl Releases for Folders {
    fn folder(&self, release: &ReleaseRef) -> PathBuf {
        self.0.join(format!("{}-{}", release.version, &release.manifest.as_str()[..12]))
    }

    fn command(&self, _release: &ReleaseRef) -> Option<Command> {
        None
    }
}
