//! The control client: a call is one line and its answer; several calls at once use several connections.

use super::gate::SlotGate;
use super::wire::{Command, Hello, LONGEST_LINE, NewSlot, Reply, Slots};
use everup_core::ids::InstanceId;
use everup_core::receipt::{Source, Window};
use everup_core::time::Millis;
use serde::de::DeserializeOwned;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// A proxy that does not answer a command within this time (beyond what the command itself waits for) is given up.
const PATIENCE: Duration = Duration::from_secs(10);

/// Idle connections kept for the next call; more calls at once are unusual.
const KEPT: usize = 4;

/// A command was not carried out, or nobody knows whether it was.
#[derive(Debug, thiserror::Error)]
pub enum ControlError {
    /// Nobody answers behind the socket: the process is dead, or being replaced. The command may be repeated.
    #[error("no answer from the proxy behind {}: {cause}; repeat the call, or look whether the proxy runs", path.display())]
    Silent {
        /// The socket.
        path: PathBuf,
        /// What happened.
        #[source]
        cause: io::Error,
    },
    /// The proxy refused, and says why.
    #[error("{0}")]
    Refused(String),
}

/// A proxy's control socket. Cheap to clone; connects when it has to.
#[derive(Debug, Clone)]
pub struct Client {
    shared: Arc<Shared>,
}

#[derive(Debug)]
struct Shared {
    path: PathBuf,
    idle: Mutex<Vec<BufReader<UnixStream>>>,
}

impl Client {
    /// A client for the socket at `path`; nothing happens before the first call.
    pub fn new(path: impl Into<PathBuf>) -> Self {
        Self { shared: Arc::new(Shared { path: path.into(), idle: Mutex::default() }) }
    }

    /// The socket.
    #[must_use]
    pub fn path(&self) -> &Path {
        &self.shared.path
    }

    /// The gate of one slot, for that instance's engine.
    #[must_use]
    pub fn gate(&self, id: InstanceId) -> SlotGate {
        SlotGate::new(self.clone(), id)
    }

    /// Who answers.
    ///
    /// # Errors
    /// When nobody does.
    pub async fn hello(&self) -> Result<Hello, ControlError> {
        self.call(&Command::Hello, Millis::ZERO).await
    }

    /// Adds a slot, stored when this is done.
    ///
    /// # Errors
    /// When the upstream is not an address of this machine, the state cannot be stored, or nobody answers.
    pub async fn add_slot(&self, slot: &NewSlot) -> Result<(), ControlError> {
        self.call(&Command::AddSlot(slot.clone()), Millis::ZERO).await
    }

    /// Removes a slot; what is inside its app goes on.
    ///
    /// # Errors
    /// When the state cannot be stored, or nobody answers.
    pub async fn remove_slot(&self, id: &InstanceId) -> Result<(), ControlError> {
        self.call(&Command::RemoveSlot { id: id.clone() }, Millis::ZERO).await
    }

    /// Lets the balancer choose the slot for new requests.
    ///
    /// # Errors
    /// When there is no such slot, the state cannot be stored, or nobody answers.
    pub async fn join(&self, id: &InstanceId) -> Result<(), ControlError> {
        self.call(&Command::Join { id: id.clone() }, Millis::ZERO).await
    }

    /// Lets it choose the slot no more.
    ///
    /// # Errors
    /// When there is no such slot, the state cannot be stored, or nobody answers.
    pub async fn leave(&self, id: &InstanceId) -> Result<(), ControlError> {
        self.call(&Command::Leave { id: id.clone() }, Millis::ZERO).await
    }

    /// All slots, as soon as their number differs from `since`, or after `within`. 0 differs from every number.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn slots(&self, since: u64, within: Millis) -> Result<Slots, ControlError> {
        self.call(&Command::Slots { since, within }, within).await
    }

    /// What passed in `window`, as far back as the proxy remembers (an hour).
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn measure(&self, window: Window) -> Result<Source, ControlError> {
        self.call(&Command::Measure { window }, Millis::ZERO).await
    }

    /// Sends `command` and waits for its answer, `within` longer than usual.
    pub(super) async fn call<T: DeserializeOwned>(
        &self,
        command: &Command,
        within: Millis,
    ) -> Result<T, ControlError> {
        let answer = self.exchange(command, PATIENCE + within.as_duration()).await;
        match answer.map_err(|cause| ControlError::Silent { path: self.path().to_owned(), cause })? {
            Reply::Refused(reason) => Err(ControlError::Refused(reason)),
            Reply::Done(value) => serde_json::from_value(value)
                .map_err(|e| ControlError::Silent { path: self.path().to_owned(), cause: e.into() }),
        }
    }

    async fn exchange(&self, command: &Command, patience: Duration) -> io::Result<Reply> {
        let mut line = serde_json::to_vec(command)?;
        line.push(b'\n');
        tokio::time::timeout(patience, self.over_any(&line))
            .await
            .map_err(|_| io::Error::new(io::ErrorKind::TimedOut, format!("waited for {patience:?}")))?
    }

    /// Over a connection from an earlier call if there is one; if that is dead (the proxy was replaced) over a new
    /// one, which is right because every command may be repeated.
    async fn over_any(&self, line: &[u8]) -> io::Result<Reply> {
        let idle = self.lock().pop();
        if let Some(used) = idle
            && let Ok(reply) = self.over(used, line).await
        {
            return Ok(reply);
        }
        let fresh = BufReader::new(UnixStream::connect(self.path()).await?);
        self.over(fresh, line).await
    }

    /// Dropped in the middle, it drops the connection too, so that no answer is ever taken for another's.
    async fn over(&self, mut stream: BufReader<UnixStream>, line: &[u8]) -> io::Result<Reply> {
        stream.write_all(line).await?;
        let mut answer = Vec::new();
        (&mut stream).take(LONGEST_LINE).read_until(b'\n', &mut answer).await?;
        if answer.is_empty() {
            return Err(io::Error::new(io::ErrorKind::UnexpectedEof, "it hung up"));
        }
        let reply = serde_json::from_slice(&answer)?;
        let mut idle = self.lock();
        if idle.len() < KEPT {
            idle.push(stream);
        }
        Ok(reply)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Vec<BufReader<UnixStream>>> {
        self.shared.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
