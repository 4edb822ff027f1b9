//! One proxy after the other on the same places, without a refused connection in between.
//!
//! The one that serves holds a lock. A newcomer that does not get it asks the holder, over its control socket, to
//! accept no more; gets ready; says that it serves; and takes orders when the lock is free, which is when the other's
//! last connection has ended. If it hangs up before it says so, it has failed, and the other goes on.

use crate::control::{Command, Reply};
use crate::meter::Lane;
use crate::run::{Places, RunError, wanted};
use everup_core::time::Millis;
use std::fs::{File, TryLockError};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;
use tokio::sync::oneshot;

/// A holder that says nothing for so long is not asked any further: whoever started this process decides.
const PATIENCE: Duration = Duration::from_secs(5);

/// Who served before.
#[derive(Debug)]
pub(crate) struct Predecessor {
    lock: File,
    lane: Lane,
    /// It runs still; the conversation with it, unless it is retiring already.
    runs: Option<Option<UnixStream>>,
}

/// Makes the one that serves, if there is one, accept no more.
pub(crate) async fn pause(places: &Places) -> Result<Predecessor, RunError> {
    let path = places.state.with_extension("lock");
    let lock = open(&path).map_err(wanted("open the lock"))?;
    match lock.try_lock() {
        Ok(()) => Ok(Predecessor { lock, lane: Lane::A, runs: None }.with_lane()),
        Err(TryLockError::Error(e)) => Err(wanted("take the lock")(e)),
        Err(TryLockError::WouldBlock) => {
            let lane = lane_of_holder(&lock).other();
            let conversation = tokio::time::timeout(PATIENCE, ask(&places.control)).await;
            let silent = || wanted("ask the proxy that runs to make room")(io::ErrorKind::TimedOut.into());
            Ok(Predecessor { lock, lane, runs: Some(conversation.map_err(|_| silent())??) })
        }
    }
}

/// Ends the proxy on `places`, behind which there is nothing any more: whoever waits there is told that it was sent to
/// nobody, and so goes elsewhere. Done when the process has ended; what is inside it has `within` for that.
///
/// # Errors
/// When it does not answer, or runs on.
pub async fn close(places: &Places, within: Millis) -> io::Result<()> {
    let lock = open(&places.state.with_extension("lock"))?;
    if lock.try_lock().is_ok() {
        return Ok(());
    }
    let patience = PATIENCE + within.as_duration();
    let closing = async {
        let mut stream = UnixStream::connect(&places.control).await?;
        say(&mut stream, &Command::Close { within }).await?;
        locked(lock).await;
        Ok(())
    };
    tokio::time::timeout(patience, closing).await.unwrap_or_else(|_| Err(io::ErrorKind::TimedOut.into()))
}

fn open(path: &Path) -> io::Result<File> {
    File::options().read(true).write(true).create(true).truncate(false).open(path)
}

fn lane_of_holder(lock: &File) -> Lane {
    let mut byte = [0];
    let read = lock.read_exact_at(&mut byte, 0);
    if read.is_ok() && byte == *b"B" { Lane::B } else { Lane::A }
}

/// Nobody behind the socket, though somebody holds the lock: it is retiring, and an earlier successor has died.
async fn ask(control: &Path) -> Result<Option<UnixStream>, RunError> {
    let Ok(mut stream) = UnixStream::connect(control).await else { return Ok(None) };
    match converse(&mut stream, &Command::HandOver).await {
        Ok(Reply::Done(_)) => Ok(Some(stream)),
        Ok(Reply::Refused(reason)) => Err(RunError::Refused(reason)),
        Err(e) => Err(wanted("ask the proxy that runs to make room")(e)),
    }
}

async fn converse(stream: &mut UnixStream, command: &Command) -> io::Result<Reply> {
    say(stream, command).await?;
    let mut line = Vec::new();
    BufReader::new(stream).read_until(b'\n', &mut line).await?;
    Ok(serde_json::from_slice(&line)?)
}

async fn say(stream: &mut UnixStream, command: &Command) -> io::Result<()> {
    let mut line = serde_json::to_vec(command)?;
    line.push(b'\n');
    stream.write_all(&line).await
}

impl Predecessor {
    /// Where this process counts: not where the other does.
    pub(crate) const fn lane(&self) -> Lane {
        self.lane
    }

    /// Whether another process still serves connections.
    pub(crate) const fn runs(&self) -> bool {
        self.runs.is_some()
    }

    /// Lets it finish within `within`, and waits until it has ended. The lock is this process's from then on, for as
    /// long as the file that is returned is open.
    pub(crate) async fn retire(mut self, within: Millis) -> File {
        let Some(conversation) = self.runs.take() else { return self.lock };
        if let Some(mut stream) = conversation
            && let Err(e) = say(&mut stream, &Command::HandedOver { within }).await
        {
            tracing::info!("the proxy that served before has ended already: {e}");
        }
        let lock = self.lock.try_clone();
        match lock {
            Ok(lock) => locked(lock).await,
            Err(e) => tracing::error!("cannot wait for the proxy that served before: {e}"),
        }
        self.with_lane().lock
    }

    /// Tells a successor which lane is taken.
    fn with_lane(self) -> Self {
        let byte = if self.lane == Lane::A { b"A" } else { b"B" };
        if let Err(e) = self.lock.write_all_at(byte, 0) {
            tracing::warn!("cannot note where this process counts: {e}");
        }
        self
    }
}

/// Waits for the lock, on a thread of its own: nobody can be told otherwise when a file's lock is free.
async fn locked(lock: File) {
    let (tell, told) = oneshot::channel();
    std::thread::spawn(move || {
        if let Err(e) = lock.lock() {
            tracing::error!("cannot wait for the proxy that served before: {e}");
        }
        // Nobody is told only where this process is ending.
        let _ = tell.send(());
    });
    drop(told.await);
}
