//! An upgraded connection: bytes both ways, until one side closes or the drain's deadline comes. A WebSocket is then
//! told so (1001) between two frames, in both directions.

use crate::flight::{Ending, Flight};
use crate::meter::{Outcome, Record};
use crate::websocket::{AWAY_TO_APP, AWAY_TO_CLIENT, Frames};
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::pin;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt, ReadHalf, WriteHalf, split};

/// When one side has closed, the other may go on for so long.
const HALF_CLOSED: Duration = Duration::from_secs(75);

/// A client's answer to our goodbye is waited for so long; closing before it could lose the goodbye.
const GOODBYE: Duration = Duration::from_millis(500);

const PIECE: usize = 8 << 10;

type Io = TokioIo<Upgraded>;

/// One direction.
struct Lane {
    from: ReadHalf<Io>,
    to: WriteHalf<Io>,
    frames: Option<Frames>,
    away: &'static [u8],
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum End {
    Closed,
    Asked,
    Broken,
}

/// Closes the counts of a tunnel, also of one that is ended by force because its client reads no more.
struct Account {
    flight: Flight,
    record: Option<Record>,
}

impl Account {
    fn close(&mut self, outcome: Outcome) {
        self.record.take().into_iter().for_each(|record| record.finish(outcome));
    }
}

impl Drop for Account {
    fn drop(&mut self) {
        let forced = self.flight.slot().is_none();
        self.close(if forced { Outcome::ByDesign } else { Outcome::Left });
    }
}

/// Carries both directions to their end.
pub(crate) async fn tunnel(client: Upgraded, app: Upgraded, flight: Flight, record: Record, websocket: bool) {
    let mut account = Account { flight, record: Some(record) };
    let (client_reads, client_writes) = split(TokioIo::new(client));
    let (app_reads, app_writes) = split(TokioIo::new(app));
    let frames = || websocket.then(Frames::default);
    let mut down = Lane { from: app_reads, to: client_writes, frames: frames(), away: AWAY_TO_CLIENT };
    let mut up = Lane { from: client_reads, to: app_writes, frames: frames(), away: AWAY_TO_APP };
    let asked = both(&mut down, &mut up, &account.flight).await;
    if asked {
        account.flight.ended(Ending::ByDesign);
        drop(tokio::time::timeout(GOODBYE, up.until_closed()).await);
    }
    account.close(if asked { Outcome::ByDesign } else { Outcome::Answered });
}

/// Whether the deadline ended it.
async fn both(down: &mut Lane, up: &mut Lane, flight: &Flight) -> bool {
    let (mut down, mut up) = (pin!(down.run(flight)), pin!(up.run(flight)));
    let first = tokio::select! { end = &mut down => (end, true), end = &mut up => (end, false) };
    let second = match first {
        (End::Broken, _) => return false,
        (_, true) => tokio::time::timeout(HALF_CLOSED, up).await,
        (_, false) => tokio::time::timeout(HALF_CLOSED, down).await,
    };
    first.0 == End::Asked || second == Ok(End::Asked)
}

impl Lane {
    async fn run(&mut self, flight: &Flight) -> End {
        let mut buffer = vec![0; PIECE];
        loop {
            let n = tokio::select! {
                biased;
                () = flight.asked(), if self.may_end() => return self.say_goodbye().await.unwrap_or(End::Broken),
                n = self.from.read(&mut buffer) => n,
            };
            match n {
                Ok(0) => return self.to.shutdown().await.map_or(End::Broken, |()| End::Closed),
                Ok(n) if self.pass_on(&buffer[..n], flight.is_asked()).await.is_ok() => {}
                _ => return End::Broken,
            }
        }
    }

    fn may_end(&self) -> bool {
        self.frames.as_ref().is_none_or(Frames::at_boundary)
    }

    /// All of `piece`; once the end was asked for, only what completes a frame.
    async fn pass_on(&mut self, piece: &[u8], asked: bool) -> io::Result<()> {
        let n = match &mut self.frames {
            Some(frames) if asked => frames.follow_to_boundary(piece),
            Some(frames) => {
                frames.follow(piece);
                piece.len()
            }
            None => piece.len(),
        };
        self.to.write_all(&piece[..n]).await?;
        self.to.flush().await
    }

    async fn say_goodbye(&mut self) -> io::Result<End> {
        if self.frames.is_some() {
            self.to.write_all(self.away).await?;
        }
        self.to.shutdown().await?;
        Ok(End::Asked)
    }

    async fn until_closed(&mut self) {
        let mut buffer = [0; 1_024];
        while matches!(self.from.read(&mut buffer).await, Ok(1..)) {}
    }
}
