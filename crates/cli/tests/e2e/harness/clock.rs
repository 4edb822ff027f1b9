//! Clocks that are off: Debian's libfaketime, before a process of the binary.

use super::Shop;
use std::process::Command;

/// What makes a clock be off.
#[derive(Debug)]
pub(crate) struct Clock {
    library: String,
}

impl Clock {
    /// How far the clock of a process is off that is started from now on, below the shop's folder.
    pub(crate) const FILE: &'static str = "clock";

    /// `None` if the machine has no libfaketime and need not have it; `cargo xtask test` installs it.
    pub(crate) fn find() -> Option<Self> {
        let said = Command::new("faketime").args(["-f", "+0", "sh", "-c", "echo $LD_PRELOAD"]).output();
        let library = said.ok().map(|said| String::from_utf8_lossy(&said.stdout).trim().to_owned());
        let library = library.filter(|library| !library.is_empty());
        let required = std::env::var_os("EVERUP_TEST_REQUIRE").is_some();
        assert!(library.is_some() || !required, "this test needs Debian's faketime");
        if library.is_none() {
            eprintln!("not run: it needs Debian's faketime; `cargo xtask test` installs it");
        }
        Some(Self { library: library? })
    }

    /// A command with a clock that is off by so much.
    pub(crate) fn set(&self, command: &mut Command, off: &str) {
        command.env("LD_PRELOAD", &self.library).env("FAKETIME", off);
        command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
    }

    /// Each process of the shop's fleet takes, when it starts, what the file says then, and keeps to it.
    pub(crate) fn leave_to(&self, shop: &mut Shop) {
        shop.write(Self::FILE, "+0");
        let file = shop.path().join(Self::FILE).display().to_string();
        for (name, value) in [
            ("LD_PRELOAD", self.library.as_str()),
            ("FAKETIME_TIMESTAMP_FILE", &file),
            ("FAKETIME_CACHE_DURATION", "1000000"),
            ("FAKETIME_DONT_FAKE_MONOTONIC", "1"),
        ] {
            shop.keeper_env(name, value);
        }
    }
}
