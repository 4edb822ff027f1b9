//! Where the project is, and cargo as this project calls it.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::OnceLock;

/// The one profile of all that is built here (the root Cargo.toml says why): what one suite has compiled, no other
/// compiles again.
pub(crate) const PROFILE: &str = "demo";

/// The workspace's folder, as the cargo that runs us says: where a target folder is shared, this program may have been
/// built in another clone.
pub(crate) fn root() -> &'static Path {
    static HERE: OnceLock<PathBuf> = OnceLock::new();
    let xtask = HERE.get_or_init(|| {
        let told = std::env::var_os("CARGO_MANIFEST_DIR");
        PathBuf::from(told.unwrap_or_else(|| env!("CARGO_MANIFEST_DIR").into()))
    });
    xtask.parent().expect("xtask lies in the workspace's folder")
}

/// The cargo that runs us, in the workspace's folder.
pub(crate) fn cargo<'a>(words: impl IntoIterator<Item = &'a str>) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command.args(words).current_dir(root());
    command
}

/// Where cargo puts what it builds.
pub(crate) fn target() -> PathBuf {
    let named = std::env::var_os("CARGO_TARGET_DIR").map(PathBuf::from);
    root().join(named.unwrap_or_else(|| PathBuf::from("target")))
}

/// A binary of the workspace, as the suites use it.
pub(crate) fn binary(name: &str) -> PathBuf {
    target().join(PROFILE).join(name)
}

/// Whether tests are run by nextest: it ends a test that hangs, and runs all binaries' tests side by side.
pub(crate) fn has_nextest() -> bool {
    cargo(["nextest", "--version"]).output().is_ok_and(|output| output.status.success())
}
