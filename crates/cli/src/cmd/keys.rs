//! `everup keys`: the keys that sign the fleet's messages. A secret is never shown.

use crate::context::Context;
use crate::exit::Exit;
use crate::failure::{Failure, chain};
use everup_web::keyring::{Keyring, MOST_KEYS};
use everup_web::signing::Key;
use serde::Serialize;
use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

/// Arguments of `everup keys`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// What to do [default: show]
    #[command(subcommand)]
    pub what: Option<What>,
}

/// What to do with the keys.
#[derive(Debug, clap::Subcommand)]
pub enum What {
    /// List the ids of the keys that are valid
    Show,
    /// Make a new key; the one before stays valid until the next rotation
    Rotate,
}

#[derive(Serialize)]
struct Shown<'k> {
    keys: Vec<ShownKey<'k>>,
}

#[derive(Serialize)]
struct ShownKey<'k> {
    id: &'k str,
    /// Every key verifies; only the first signs.
    signs: bool,
}

#[derive(Serialize)]
struct Document {
    keys: Vec<Key>,
}

/// Runs the command.
///
/// # Errors
/// When there are no keys yet, or their file cannot be used.
pub fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let path = context.settings()?.state.join("keys.json");
    if !path.exists() {
        let happened = format!("{} does not exist", path.display());
        return Err(
            Failure::input("the keys could not be read", happened).hint("`everup up` makes the first one")
        );
    }
    let ring = Keyring::open(&path).map_err(|e| Failure::input("the keys could not be read", chain(&e)))?;
    if matches!(args.what, Some(What::Rotate)) {
        let failed = |error| Failure::new(Exit::Internal, "the key could not be changed", error);
        rotate(&path, &ring.keys()).map_err(failed)?;
    }
    let ring = ring.keys();
    let keys = ring.iter().enumerate().map(|(place, key)| ShownKey { id: &key.id, signs: place == 0 });
    let shown = Shown { keys: keys.collect() };
    let role = |key: &ShownKey<'_>| if key.signs { "signs, and verifies" } else { "verifies" };
    let text = || {
        let lines = shown.keys.iter().map(|key| format!("{}  {}", key.id, role(key)));
        lines.collect::<Vec<_>>().join("\n")
    };
    context.out.either(&shown, text);
    Ok(Exit::Done)
}

/// The new key signs from now on. All processes of one machine read the file before each use, so none has to be
/// restarted, and the key before verifies what is under way.
fn rotate(path: &Path, old: &[Key]) -> std::io::Result<()> {
    let keys = std::iter::once(Key::random()).chain(old.iter().cloned()).take(MOST_KEYS).collect();
    let folder = path.parent().unwrap_or(Path::new("/"));
    let mut file =
        tempfile::Builder::new().permissions(std::fs::Permissions::from_mode(0o600)).tempfile_in(folder)?;
    file.write_all(&serde_json::to_vec_pretty(&Document { keys })?)?;
    file.as_file().sync_all()?;
    file.persist(path)?;
    std::fs::File::open(folder)?.sync_all()
}
