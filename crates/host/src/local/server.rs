//! The keeper's control socket. Only the user that the keeper runs as may speak, whatever the folder's permissions
//! have become.

use super::files::FileError;
use super::wire::{Answer, Ask, Fleet, LONGEST};
use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::OwnedReadHalf;
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, mpsc, oneshot, watch};
use tokio::task::spawn_local;

/// A question about membership is answered after so long although nothing changed.
const LONG_POLL: Duration = Duration::from_secs(20);
/// So many connections at once.
const CONNECTIONS: usize = 256;

/// A question that the keeper's loop answers.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) ask: Ask,
    pub(super) reply: oneshot::Sender<Answer>,
}

/// What a connection needs.
#[derive(Debug, Clone)]
pub(super) struct Desk {
    pub(super) asked: mpsc::Sender<Asked>,
    pub(super) fleet: watch::Receiver<Arc<Fleet>>,
}

/// Listens at `path`, in place of an earlier keeper's socket.
pub(super) fn open(path: &Path) -> Result<UnixListener, FileError> {
    let bind = || -> io::Result<UnixListener> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != io::ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        let listener = UnixListener::bind(path)?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o600))?;
        Ok(listener)
    };
    bind().map_err(FileError::at("listen at", path))
}

/// Serves until it is dropped.
pub(super) async fn serve(listener: UnixListener, desk: Desk) {
    let places = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let place = Arc::clone(&places).acquire_owned().await.expect("the semaphore is never closed");
        match listener.accept().await {
            Ok((stream, _)) if is_us(&stream) => {
                let desk = desk.clone();
                spawn_local(async move {
                    let _ = converse(stream, desk).await;
                    drop(place);
                });
            }
            Ok(_) => tracing::warn!("somebody of another user tried the control socket"),
            // Out of descriptors, say: those that are open have to end first.
            Err(_) => tokio::time::sleep(Duration::from_millis(100)).await,
        }
    }
}

fn is_us(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == rustix::process::geteuid().as_raw())
}

async fn converse(stream: UnixStream, mut desk: Desk) -> io::Result<()> {
    let (read, mut write) = stream.into_split();
    let mut lines = BufReader::new(read);
    while let Some(line) = desk.or_closed(next_line(&mut lines)).await? {
        let answer = match serde_json::from_slice(&line) {
            Ok(Ask::Members { since }) => members(&mut desk.fleet, since).await,
            Ok(ask) => desk.ask(ask).await,
            Err(error) => Answer::Refused(format!("not a question that this keeper knows: {error}")),
        };
        let mut line = serde_json::to_vec(&answer)?;
        line.push(b'\n');
        write.write_all(&line).await?;
    }
    Ok(())
}

async fn next_line(lines: &mut BufReader<OwnedReadHalf>) -> io::Result<Option<Vec<u8>>> {
    let mut line = Vec::new();
    let read = lines.take(LONGEST as u64).read_until(b'\n', &mut line).await?;
    match (read, line.last()) {
        (0, _) => Ok(None),
        (_, Some(b'\n')) => Ok(Some(line)),
        _ => Err(io::ErrorKind::InvalidData.into()),
    }
}

async fn members(fleet: &mut watch::Receiver<Arc<Fleet>>, since: u64) -> Answer {
    // Another number than the asker's, not just a higher one: a keeper that lost its ledger counts anew.
    let newer = fleet.wait_for(|fleet| fleet.members.seq != since || since == 0);
    let _ = tokio::time::timeout(LONG_POLL, newer).await;
    Answer::Fleet(Fleet::clone(&fleet.borrow()))
}

impl Desk {
    /// What `line` yields, or the end when the keeper ends: then the connection is closed, which is what one who
    /// asked it to end everything waits for.
    async fn or_closed<T>(&self, line: impl Future<Output = io::Result<Option<T>>>) -> io::Result<Option<T>> {
        tokio::select! {
            line = line => line,
            () = self.asked.closed() => Ok(None),
        }
    }

    async fn ask(&self, ask: Ask) -> Answer {
        let (reply, answer) = oneshot::channel();
        let ends = || Answer::Refused("the keeper is just ending".to_owned());
        match self.asked.send(Asked { ask, reply }).await {
            Ok(()) => answer.await.unwrap_or_else(|_| ends()),
            Err(_) => ends(),
        }
    }
}
