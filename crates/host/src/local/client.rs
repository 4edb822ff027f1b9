//! How agents and the command line talk to the keeper; and how an agent knows its fleet while the keeper is away.

use super::files;
use super::wire::{Answer, Ask, Fleet, Info};
use everup_core::ids::InstanceId;
use std::io;
use std::path::{Path, PathBuf};
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::UnixStream;

/// An answer of the keeper's is at most so long: a fleet of thousands fits.
const LONGEST_ANSWER: u64 = 4 << 20;
/// Longer than the keeper ever takes.
pub const PATIENCE: Duration = Duration::from_secs(30);
/// While the keeper is away nobody can tell of a change; its file is looked at so often.
const AWAY: Duration = Duration::from_secs(1);

/// Why there is no answer.
#[derive(Debug, thiserror::Error)]
pub enum KeeperError {
    /// Nobody keeps this fleet.
    #[error("no keeper runs here ({}): start it with `everup up`", .0.display())]
    Away(PathBuf),
    /// It answered that it will not.
    #[error("{0}")]
    Refused(String),
    /// The talk broke off.
    #[error("the keeper did not answer: {0}")]
    Silent(#[from] io::Error),
}

/// A keeper, by its folder. Each call is a connection of its own: a call that is given up is simply dropped.
#[derive(Debug, Clone)]
pub struct Keeper {
    run: PathBuf,
}

impl Keeper {
    /// The keeper whose sockets are in `run`.
    #[must_use]
    pub fn at(run: &Path) -> Self {
        Self { run: run.to_owned() }
    }

    /// Waits until membership differs from the one numbered `since`, or some seconds have passed. While the keeper
    /// is away, what it wrote last.
    ///
    /// # Errors
    /// When the keeper is away and left nothing that can be read.
    pub async fn members(&self, since: u64) -> Result<Fleet, KeeperError> {
        match self.ask(&Ask::Members { since }).await {
            Ok(Answer::Fleet(fleet)) => return Ok(fleet),
            Ok(other) => return Err(unexpected(&other)),
            Err(error) => tracing::debug!("{error}"),
        }
        let fleet = self.written()?;
        if fleet.members.seq == since {
            tokio::time::sleep(AWAY).await;
        }
        Ok(fleet)
    }

    fn written(&self) -> Result<Fleet, KeeperError> {
        let path = self.run.join("fleet.json");
        let read = files::read(&path).map_err(io::Error::other)?;
        read.ok_or_else(|| KeeperError::Away(self.run.clone()))
    }

    /// Asks for `to` instances.
    ///
    /// # Errors
    /// When that is fewer than the minimum or more than the maximum, or nobody answers.
    pub async fn resize(&self, to: u32) -> Result<(), KeeperError> {
        self.done(&Ask::Resize { to }).await
    }

    /// Protects an instance against scaling in, or ends that.
    ///
    /// # Errors
    /// When there is no such instance, or nobody answers.
    pub async fn protect(&self, id: &InstanceId, on: bool) -> Result<(), KeeperError> {
        self.done(&Ask::Protect { id: id.clone(), on }).await
    }

    /// Ends an instance, which is then replaced.
    ///
    /// # Errors
    /// When there is no such instance, it is protected, or nobody answers.
    pub async fn terminate(&self, id: &InstanceId, at_once: bool) -> Result<(), KeeperError> {
        self.done(&Ask::Terminate { id: id.clone(), at_once }).await
    }

    /// What the keeper knows.
    ///
    /// # Errors
    /// When nobody answers.
    pub async fn info(&self) -> Result<Info, KeeperError> {
        match self.ask(&Ask::Info).await? {
            Answer::Info(info) => Ok(info),
            other => Err(unexpected(&other)),
        }
    }

    /// Ends everything; done when nothing is left.
    ///
    /// # Errors
    /// When it refuses (a migration runs), or nobody answers.
    pub async fn down(&self, at_once: bool) -> Result<(), KeeperError> {
        let mut stream = self.connect().await?;
        match converse(&mut stream, &Ask::Down { at_once }).await? {
            Answer::Done => {}
            other => return Err(unexpected(&other)),
        }
        // It closes the connection by ending.
        let mut rest = Vec::new();
        match stream.take(LONGEST_ANSWER).read_to_end(&mut rest).await {
            Ok(_) => Ok(()),
            Err(error) if error.kind() == io::ErrorKind::ConnectionReset => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    async fn done(&self, ask: &Ask) -> Result<(), KeeperError> {
        match self.ask(ask).await? {
            Answer::Done => Ok(()),
            other => Err(unexpected(&other)),
        }
    }

    async fn ask(&self, ask: &Ask) -> Result<Answer, KeeperError> {
        let mut stream = self.connect().await?;
        let late = |_| io::Error::from(io::ErrorKind::TimedOut);
        Ok(tokio::time::timeout(PATIENCE, converse(&mut stream, ask)).await.map_err(late)??)
    }

    async fn connect(&self) -> Result<UnixStream, KeeperError> {
        let connected = UnixStream::connect(self.run.join("keeper.sock")).await;
        connected.map_err(|_| KeeperError::Away(self.run.clone()))
    }
}

fn unexpected(answer: &Answer) -> KeeperError {
    match answer {
        Answer::Refused(why) => KeeperError::Refused(why.clone()),
        _ => KeeperError::Silent(io::Error::other("it answered something else")),
    }
}

async fn converse(stream: &mut UnixStream, ask: &Ask) -> io::Result<Answer> {
    let mut line = serde_json::to_vec(ask)?;
    line.push(b'\n');
    stream.write_all(&line).await?;
    let mut answer = Vec::new();
    BufReader::new(stream).take(LONGEST_ANSWER).read_until(b'\n', &mut answer).await?;
    match answer.last() {
        Some(b'\n') => Ok(serde_json::from_slice(&answer)?),
        _ => Err(io::ErrorKind::UnexpectedEof.into()),
    }
}
