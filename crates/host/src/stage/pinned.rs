//! The releases that one agent counts on, and where they lie. What is pinned no other agent removes.
//!
//! Who removes a release holds its place alone, and may be stopped in the middle. Whoever wants that release meanwhile
//! takes the next place: nobody waits, and whoever wakes late removes what was given up, nothing newer.

use super::lock::{self, Lock};
use super::places::{self, Places};
use everup_core::release::{Command, ReleaseRef};
use everup_release::catalog;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::rc::Rc;

/// What one agent has pinned. Cloning shares it.
#[derive(Debug, Clone)]
pub struct Pinned {
    releases: PathBuf,
    pins: Rc<RefCell<BTreeMap<ReleaseRef, Pin>>>,
}

/// A place that no other agent removes as long as this lives.
#[derive(Debug)]
pub(super) struct Pin {
    pub(super) places: Places,
    _lock: Lock,
}

impl Pin {
    /// Pins the first place of `release` that nobody is removing; a complete one before others.
    pub(super) fn put(releases: &Path, release: &ReleaseRef) -> io::Result<Self> {
        let complete = places::complete(releases, release);
        let all = (1..).map(|number| Places::of(releases, release, number));
        for places in complete.into_iter().chain(all) {
            if let Some(lock) = lock::shared(&places.pin())? {
                return Ok(Self { places, _lock: lock });
            }
        }
        Err(io::Error::other("every place of the release is being removed"))
    }
}

impl Pinned {
    /// For who stages nothing and counts on nothing of what is in `releases`.
    #[must_use]
    pub fn none(releases: &Path) -> Self {
        Self { releases: releases.to_owned(), pins: Rc::default() }
    }

    pub(super) fn has(&self, release: &ReleaseRef) -> bool {
        self.pins.borrow().contains_key(release)
    }

    pub(super) fn add(&self, release: &ReleaseRef, pin: Pin) {
        self.pins.borrow_mut().entry(release.clone()).or_insert(pin);
    }

    pub(super) fn keep(&self, keep: &[ReleaseRef]) {
        self.pins.borrow_mut().retain(|release, _| keep.contains(release));
    }

    /// Where this agent has pinned `release`; if it has not, where one is that is complete; otherwise where it will be.
    pub(super) fn places(&self, release: &ReleaseRef) -> Places {
        if let Some(pin) = self.pins.borrow().get(release) {
            return pin.places.clone();
        }
        places::any(&self.releases, release)
    }

    /// The folder of `release`; there only if it is complete.
    #[must_use]
    pub fn folder(&self, release: &ReleaseRef) -> PathBuf {
        self.places(release).folder()
    }

    /// How `release` itself says that it is started, if it is here and says so.
    #[must_use]
    pub fn start(&self, release: &ReleaseRef) -> Option<Command> {
        let manifest = fs::read(self.places(release).manifest()).ok()?;
        catalog::parse(release, &manifest).ok()?.start
    }

    /// The folder of the configuration that came with `release`, if one did (`EVERUP_CONFIG`).
    #[must_use]
    pub fn configuration(&self, release: &ReleaseRef) -> Option<PathBuf> {
        Some(self.places(release).config()).filter(|folder| folder.is_dir())
    }
}
