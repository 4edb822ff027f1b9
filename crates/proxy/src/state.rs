//! What a proxy remembers across its own death: its slots, and whether each is open, shut or sealed.

use crate::control::Behind;
use everup_core::gate::machine::Kept;
use everup_core::ids::{InstanceId, Zone};
use serde::{Deserialize, Serialize};
use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Mutex;

/// The form of the document that this program writes.
const FORM: u32 = 1;

/// The document.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct State {
    pub(crate) form: u32,
    pub(crate) slots: Vec<KeptSlot>,
}

/// One slot of it.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct KeptSlot {
    pub(crate) id: InstanceId,
    pub(crate) zone: Zone,
    #[serde(default)]
    pub(crate) behind: Behind,
    pub(crate) gate: Kept,
}

impl State {
    pub(crate) const fn new(slots: Vec<KeptSlot>) -> Self {
        Self { form: FORM, slots }
    }
}

/// The file that it is kept in, and what is known to be in there.
#[derive(Debug)]
pub(crate) struct Disk {
    path: Arc<Path>,
    /// Locked while a write is under way, so that writes land in order.
    stored: Arc<Mutex<Option<State>>>,
}

impl Disk {
    /// Reads `path`; a file that is not there is an empty state.
    ///
    /// A file that cannot be understood is an error: a seal may be in it, and must not be lost.
    pub(crate) fn open(path: PathBuf) -> io::Result<(Self, State)> {
        let state = match fs::read(&path) {
            Ok(bytes) => parse(&bytes).map_err(|e| {
                io::Error::new(e.kind(), format!("{}: {e}; a seal may be lost", path.display()))
            })?,
            Err(e) if e.kind() == io::ErrorKind::NotFound => State::new(Vec::new()),
            Err(e) => return Err(e),
        };
        Ok((Self { path: path.into(), stored: Arc::default() }, state))
    }

    /// Stores `now()`, as it is when its turn has come, unless it is stored already. Synced when this is done. A write that
    /// was begun is finished, and no other begins before, also when nobody waits for it any more.
    pub(crate) async fn store(&self, now: impl FnOnce() -> State) -> io::Result<()> {
        let mut stored = Arc::clone(&self.stored).lock_owned().await;
        let state = now();
        if stored.as_ref() == Some(&state) {
            return Ok(());
        }
        let path = Arc::clone(&self.path);
        let write = move || {
            *stored = None;
            replace(&path, &serde_json::to_vec(&state)?)?;
            *stored = Some(state);
            Ok(())
        };
        tokio::task::spawn_blocking(write).await.map_err(io::Error::other)?
    }
}

fn parse(bytes: &[u8]) -> io::Result<State> {
    let state: State = serde_json::from_slice(bytes)?;
    if state.form > FORM {
        let text = format!(
            "written by a newer version of this program (form {}, this one knows {FORM})",
            state.form
        );
        return Err(io::Error::new(io::ErrorKind::InvalidData, text));
    }
    Ok(state)
}

/// Write, sync, rename, sync the folder: after a crash either the old or the new one is there, whole.
fn replace(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let next = path.with_extension("next");
    let mut file = File::create(&next)?;
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(&next, path)?;
    File::open(path.parent().filter(|p| !p.as_os_str().is_empty()).unwrap_or(Path::new(".")))?.sync_all()
}
