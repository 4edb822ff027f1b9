//! The demo's app: a small real HTTP server with a start-up time, slow answers, streams, a WebSocket and a database.
//!
//! It knows nothing of everup but the environment that every app gets: PORT, EVERUP_VERSION, EVERUP_INSTANCE and
//! EVERUP_RELEASE. It prints what it does to stdout, as an app does; that is captured, not shown.

use super::character::{Character, Flaw};
use super::database::Database;
use crate::websocket::{self, CLOSE, Frame, PING, PONG};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderValue, Method, Request, Response, StatusCode, header};
use http_body_util::combinators::UnsyncBoxBody;
use http_body_util::{BodyExt, Full, Limited, StreamBody};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::{Path, PathBuf};
use std::rc::Rc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::sleep;

type Answer = Response<UnsyncBoxBody<Bytes, Infallible>>;

/// The longest id that is counted.
const LONGEST_ID: usize = 200;
/// No answer takes longer, whatever is asked for.
const SLOWEST: Duration = Duration::from_secs(20);

/// The port that the environment names.
///
/// # Errors
/// When it names none.
pub fn port() -> Result<u16, String> {
    variable("PORT")?.parse().map_err(|_| "PORT is no port".to_owned())
}

fn variable(name: &str) -> Result<String, String> {
    std::env::var(name).map_err(|_| format!("{name} is not set"))
}

/// One running app.
#[derive(Debug)]
pub struct App {
    /// Its version.
    pub version: String,
    /// The instance that it runs on.
    pub instance: String,
    /// What it is like.
    pub character: Character,
    /// Where it counts.
    pub database: Database,
}

impl App {
    /// The app that the environment describes, on the database at `path`.
    ///
    /// # Errors
    /// When the environment lacks something, or the database has a schema that is not this release's.
    pub fn from_environment(path: &Path) -> Result<Self, String> {
        let character = Character::of(&PathBuf::from(variable("EVERUP_RELEASE")?))?;
        if character.flaw == Flaw::ExitsAtOnce {
            return Err("this release is broken: it exits at once".to_owned());
        }
        Ok(Self {
            version: variable("EVERUP_VERSION")?,
            instance: variable("EVERUP_INSTANCE")?,
            database: Database::open(path, character.schema).map_err(|e| e.to_string())?,
            character,
        })
    }

    /// Serves until it is told to end.
    ///
    /// # Errors
    /// When it cannot listen.
    pub async fn serve(self, port: u16) -> io::Result<()> {
        sleep(self.character.start).await;
        let listener = TcpListener::bind(SocketAddr::from((Ipv4Addr::LOCALHOST, port))).await?;
        self.serve_on(listener).await
    }

    /// Serves those who come to `listener`; on a [`tokio::task::LocalSet`].
    ///
    /// # Errors
    /// When it cannot accept.
    pub async fn serve_on(self, listener: TcpListener) -> io::Result<()> {
        let app = Rc::new(self);
        loop {
            let (connection, _) = listener.accept().await?;
            tokio::task::spawn_local(Rc::clone(&app).connection(connection));
        }
    }

    /// When this release ends by itself.
    pub async fn death(flaw: Flaw) {
        match flaw {
            Flaw::Dies => sleep(Duration::from_secs(2)).await,
            _ => std::future::pending().await,
        }
    }

    async fn connection(self: Rc<Self>, connection: TcpStream) {
        let _ = connection.set_nodelay(true);
        let service = service_fn(move |request| {
            let app = Rc::clone(&self);
            async move { Ok::<_, Infallible>(app.answer(request).await) }
        });
        let server = hyper::server::conn::http1::Builder::new();
        // A client that went away is its own affair.
        let _ = server.serve_connection(TokioIo::new(connection), service).with_upgrades().await;
    }

    async fn answer(&self, request: Request<Incoming>) -> Answer {
        match (request.method(), request.uri().path()) {
            (&Method::GET, "/") => self.hello(),
            (&Method::GET, "/version") => text(StatusCode::OK, format!("{}\n", self.version)),
            (&Method::GET, "/healthz") => self.health(),
            (&Method::GET, "/slow") => {
                sleep(Duration::from_millis(number(&request, "ms", 1_000)).min(SLOWEST)).await;
                self.hello()
            }
            (&Method::GET, "/stream") => events(&request),
            (&Method::POST, "/count") => self.count(request).await,
            (&Method::GET, "/ws") => upgrade(request),
            _ => text(StatusCode::NOT_FOUND, "no such page\n"),
        }
    }

    fn hello(&self) -> Answer {
        text(StatusCode::OK, format!("release {} on instance {}\n", self.version, self.instance))
    }

    fn health(&self) -> Answer {
        if self.character.flaw == Flaw::NeverHealthy {
            return text(StatusCode::SERVICE_UNAVAILABLE, "this release is broken: it is never healthy\n");
        }
        match self.database.check() {
            Ok(()) => text(StatusCode::OK, "ok\n"),
            Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
        }
    }

    async fn count(&self, request: Request<Incoming>) -> Answer {
        let body = Limited::new(request.into_body(), LONGEST_ID).collect().await;
        let id = body.ok().and_then(|body| String::from_utf8(body.to_bytes().into()).ok());
        match id.filter(|id| !id.is_empty() && id.bytes().all(|b| b.is_ascii_graphic())) {
            None => text(StatusCode::BAD_REQUEST, "the body has to be one word, the id\n"),
            Some(id) => match self.database.count(&id, &self.version) {
                Ok(()) => text(StatusCode::OK, "counted\n"),
                Err(error) => text(StatusCode::INTERNAL_SERVER_ERROR, format!("{error}\n")),
            },
        }
    }
}

fn text(status: StatusCode, text: impl Into<Bytes>) -> Answer {
    let mut answer = Response::new(Full::new(text.into()).boxed_unsync());
    *answer.status_mut() = status;
    let plain = HeaderValue::from_static("text/plain; charset=utf-8");
    answer.headers_mut().insert(header::CONTENT_TYPE, plain);
    answer
}

/// A number in the query, or what it is without one.
fn number(request: &Request<Incoming>, name: &str, otherwise: u64) -> u64 {
    let query = request.uri().query().unwrap_or_default();
    let value = query.split('&').filter_map(|pair| pair.split_once('=')).find(|(key, _)| *key == name);
    value.and_then(|(_, value)| value.parse().ok()).unwrap_or(otherwise)
}

/// So many events, one after another, each a chunk of its own.
fn events(request: &Request<Incoming>) -> Answer {
    let events = number(request, "events", 5).min(1_000);
    let pause = Duration::from_millis(number(request, "ms", 100)).min(SLOWEST);
    let next = move |done: u64| async move {
        if done == events {
            return None;
        }
        if done > 0 {
            sleep(pause).await;
        }
        let event = Bytes::from(format!("data: {}\n\n", done + 1));
        Some((Ok::<_, Infallible>(http_body::Frame::data(event)), done + 1))
    };
    let mut answer = Response::new(StreamBody::new(stream::unfold(0, next)).boxed_unsync());
    answer.headers_mut().insert(header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream"));
    answer
}

/// A WebSocket that says what it hears.
fn upgrade(mut request: Request<Incoming>) -> Answer {
    let key = request.headers().get(header::SEC_WEBSOCKET_KEY).and_then(|key| key.to_str().ok());
    let Some(accept) = key.and_then(|key| HeaderValue::from_str(&websocket::accept(key)).ok()) else {
        return text(StatusCode::BAD_REQUEST, "this is for WebSockets\n");
    };
    let upgrade = hyper::upgrade::on(&mut request);
    tokio::task::spawn_local(async move {
        if let Ok(connection) = upgrade.await {
            // The end of the connection ends it.
            let _ = echo(TokioIo::new(connection)).await;
        }
    });
    let mut answer = text(StatusCode::SWITCHING_PROTOCOLS, "");
    let headers = answer.headers_mut();
    headers.remove(header::CONTENT_TYPE);
    headers.insert(header::CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(header::UPGRADE, HeaderValue::from_static("websocket"));
    headers.insert(header::SEC_WEBSOCKET_ACCEPT, accept);
    answer
}

async fn echo(mut connection: TokioIo<hyper::upgrade::Upgraded>) -> io::Result<()> {
    loop {
        let frame = websocket::read(&mut connection).await?;
        match frame.opcode {
            CLOSE => return websocket::write(&mut connection, &frame, None).await,
            PING => {
                let pong = Frame { opcode: PONG, payload: frame.payload };
                websocket::write(&mut connection, &pong, None).await?;
            }
            PONG => {}
            _ => websocket::write(&mut connection, &frame, None).await?,
        }
    }
}
