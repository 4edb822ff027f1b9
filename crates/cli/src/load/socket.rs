//! A WebSocket that is kept open: says something, hears it again, and opens another when it was ended.

use super::{Street, connection, since};
use crate::websocket::{self, CLOSE, Frame, GOING_AWAY, PING, PONG};
use bytes::Bytes;
use http::{Request, StatusCode, header};
use http_body_util::Full;
use hyper::upgrade::Upgraded;
use hyper_util::rt::TokioIo;
use std::io;
use std::rc::Rc;
use std::time::Duration;
use tokio::io::WriteHalf;
use tokio::sync::{mpsc, watch};
use tokio::time::{MissedTickBehavior, interval, timeout};

type Socket = TokioIo<Upgraded>;

/// Between two things that it says.
const EVERY: Duration = Duration::from_millis(200);
/// What it is called in the tally.
const NAME: &str = "WebSocket";

/// How one WebSocket ended.
enum End {
    /// The users have gone.
    Enough,
    /// With 1001, at a drain's deadline.
    ByDesign,
}

/// Keeps one open until the users go.
pub(super) async fn keep(street: Rc<Street>, ended: watch::Receiver<bool>) {
    let mut opening = interval(EVERY);
    opening.set_missed_tick_behavior(MissedTickBehavior::Delay);
    while !*ended.borrow() {
        // A service that refuses is asked again in its time, each refusal counted.
        opening.tick().await;
        let opened = timeout(street.plan.deadline, open(&street)).await;
        let opened = opened.unwrap_or_else(|_| Err("no handshake in time".to_owned()));
        let spoken = match opened {
            Ok(socket) => speak(&street, socket, ended.clone()).await,
            Err(reason) => Err(reason),
        };
        match spoken {
            Ok(End::Enough) => return,
            Ok(End::ByDesign) => street.count(|tally| tally.hit(NAME, 0, true)),
            Err(reason) => street.count(|tally| tally.miss(NAME, &reason)),
        }
    }
}

async fn open(street: &Street) -> Result<Socket, String> {
    let mut connection = connection::open(street.plan.address).await?;
    let mut random = [0; 16];
    getrandom::fill(&mut random).map_err(|e| format!("no chance: {e}"))?;
    let key = websocket::key(random);
    let request = Request::get("/ws")
        .header(header::HOST, street.plan.address.to_string())
        .header(header::CONNECTION, "upgrade")
        .header(header::UPGRADE, "websocket")
        .header(header::SEC_WEBSOCKET_VERSION, "13")
        .header(header::SEC_WEBSOCKET_KEY, &key)
        .body(Full::new(Bytes::new()))
        .expect("fixed headers make a request");
    let answer = connection.send_request(request).await.map_err(|e| format!("no handshake: {e}"))?;
    let accepted = answer.headers().get(header::SEC_WEBSOCKET_ACCEPT).cloned();
    if answer.status() != StatusCode::SWITCHING_PROTOCOLS {
        return Err(format!("no handshake: {}", answer.status()));
    }
    if accepted.is_none_or(|accepted| accepted != websocket::accept(&key)) {
        return Err("the handshake was answered with another key".to_owned());
    }
    hyper::upgrade::on(answer).await.map(TokioIo::new).map_err(|e| format!("no upgrade: {e}"))
}

/// Both ends of one WebSocket. What is heard comes through a channel: a read that is given up in the middle of a
/// frame would lose it.
struct Line {
    mouth: WriteHalf<Socket>,
    heard: mpsc::Receiver<io::Result<Frame>>,
}

impl Line {
    fn new(socket: Socket) -> Self {
        let (mut ear, mouth) = tokio::io::split(socket);
        let (tell, heard) = mpsc::channel(1);
        tokio::task::spawn_local(async move {
            loop {
                let frame = websocket::read(&mut ear).await;
                let over = frame.is_err();
                if tell.send(frame).await.is_err() || over {
                    break;
                }
            }
        });
        Self { mouth, heard }
    }

    async fn say(&mut self, frame: &Frame) -> Result<(), String> {
        // Any mask will do: it protects old proxies from scripts in browsers, which this is not.
        websocket::write(&mut self.mouth, frame, Some(*b"mask")).await.map_err(|e| format!("broken off: {e}"))
    }

    /// The next frame that is no sign of life. [`None`] at a drain's deadline.
    async fn hear(&mut self) -> Result<Option<Frame>, String> {
        loop {
            let frame =
                self.heard.recv().await.ok_or("broken off")?.map_err(|e| format!("broken off: {e}"))?;
            match frame.opcode {
                PING => self.say(&Frame { opcode: PONG, payload: frame.payload }).await?,
                PONG => {}
                CLOSE if frame.close_code() == Some(GOING_AWAY) => {
                    // The connection may be gone already; it was ended cleanly.
                    let _ = self.say(&frame).await;
                    return Ok(None);
                }
                _ => return Ok(Some(frame)),
            }
        }
    }
}

async fn speak(street: &Street, socket: Socket, mut ended: watch::Receiver<bool>) -> Result<End, String> {
    let mut line = Line::new(socket);
    let mut due = interval(EVERY);
    for word in 0_u64.. {
        tokio::select! {
            biased;
            _ = ended.wait_for(|end| *end) => break,
            unasked = line.hear() => match unasked? {
                None => return Ok(End::ByDesign),
                Some(frame) => return Err(format!("heard {frame:?} unasked")),
            },
            at = due.tick() => {
                let said = Frame::text(word.to_string());
                line.say(&said).await?;
                match timeout(street.plan.deadline, line.hear()).await.map_err(|_| "no echo in time")?? {
                    None => return Ok(End::ByDesign),
                    Some(heard) if heard == said => street.count(|tally| tally.hit(NAME, since(at), false)),
                    Some(heard) => return Err(format!("said {said:?}, heard {heard:?}")),
                }
            }
        }
    }
    let _ = line.say(&Frame::close(1_000)).await;
    Ok(End::Enough)
}
