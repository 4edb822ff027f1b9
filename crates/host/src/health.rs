//! Asks an app how it is: an HTTP request, a connection, or a command.
//!
//! Requests go straight to the app's own address: no name is looked up and no proxy of the environment is used.

use bytes::Bytes;
use http_body_util::{BodyExt, Empty, LengthLimitError, Limited};
use hyper::client::conn::http1;
use hyper::header::{CONNECTION, HOST, LOCATION, USER_AGENT};
use hyper::{Request, Response, StatusCode};
use hyper_util::rt::TokioIo;
use rustix::process::{Pid, Signal, kill_process_group};
use std::fmt::Write as _;
use std::net::SocketAddr;
use std::process::Stdio;
use tokio::net::TcpStream;
use tokio::process::Command;

/// The most that is read of an answer.
const LONGEST_ANSWER: usize = 64 << 10;

/// So many bytes of an answer are shown.
const SHOWN: usize = 200;

/// What is asked by HTTP.
#[derive(Debug, Clone, Copy)]
pub struct Ask<'a> {
    /// The path, with its query if it has one.
    pub path: &'a str,
    /// The Host header; unset: the address.
    pub host: Option<&'a str>,
    /// The X-Forwarded-Proto header.
    pub forwarded_proto: Option<&'a str>,
}

/// What an app answered.
#[derive(Debug, Clone)]
pub struct Answer {
    /// Its status.
    pub status: StatusCode,
    /// Where it wants to have the request instead.
    pub location: Option<String>,
    /// The body; its beginning if it is longer than what is read.
    pub body: Vec<u8>,
}

impl Answer {
    /// Whether it passes a check: a redirect does not, for it says nothing of the app behind it.
    #[must_use]
    pub fn passes(&self) -> bool {
        self.status.is_success()
    }

    /// "status 301, Location: https://…, body: …": all that a person needs to see why it did not pass.
    #[must_use]
    pub fn describe(&self) -> String {
        let mut text = format!("status {}", self.status.as_u16());
        if let Some(location) = &self.location {
            let _ = write!(text, ", Location: {}", crate::logs::clean(location.as_bytes()));
        }
        let shown = &self.body[..self.body.len().min(SHOWN)];
        if !shown.is_empty() {
            let _ = write!(text, ", body: {}", crate::logs::clean(shown));
        }
        text
    }
}

/// Asks at `address`. Without a deadline: the caller has one.
///
/// # Errors
/// With what happened instead of an answer.
pub async fn ask(address: SocketAddr, ask: &Ask<'_>) -> Result<Answer, String> {
    let stream = connect(address).await?;
    let failed = |error: hyper::Error| format!("no answer in HTTP/1.1: {error}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let request = request(address, ask)?;
    let answer = async { read(sender.send_request(request).await.map_err(failed)?).await };
    let drive = async {
        // Its end is seen by the request as well, with a better reason.
        let _ = connection.await;
        std::future::pending::<()>().await;
    };
    tokio::select! {
        answer = answer => answer,
        () = drive => Err("the connection ended".to_owned()),
    }
}

/// Connects to `address`, and leaves again.
///
/// # Errors
/// With what happened instead.
pub async fn connect(address: SocketAddr) -> Result<TcpStream, String> {
    TcpStream::connect(address).await.map_err(|error| error.to_string())
}

fn request(address: SocketAddr, ask: &Ask<'_>) -> Result<Request<Empty<Bytes>>, String> {
    let mut request = Request::get(ask.path)
        .header(HOST, ask.host.map_or_else(|| address.to_string(), str::to_owned))
        .header(USER_AGENT, concat!("everup/", env!("CARGO_PKG_VERSION"), " health check"))
        .header(CONNECTION, "close");
    if let Some(proto) = ask.forwarded_proto {
        request = request.header("x-forwarded-proto", proto);
    }
    request.body(Empty::new()).map_err(|error| format!("the settings of the check make no request: {error}"))
}

async fn read(response: Response<hyper::body::Incoming>) -> Result<Answer, String> {
    let status = response.status();
    let location =
        response.headers().get(LOCATION).map(|value| String::from_utf8_lossy(value.as_bytes()).into());
    let mut body = Limited::new(response.into_body(), LONGEST_ANSWER);
    let mut bytes = Vec::new();
    while let Some(frame) = body.frame().await {
        match frame {
            Ok(frame) => bytes.extend_from_slice(frame.data_ref().map_or(&[], |data| data)),
            // More than we read: the status counts, and what came so far is shown.
            Err(error) if error.is::<LengthLimitError>() => break,
            Err(error) => return Err(format!("status {}, then no whole answer: {error}", status.as_u16())),
        }
    }
    Ok(Answer { status, location, body: bytes })
}

/// Runs `command`, which the caller made a group of its own, and waits for its end. With the future, the whole
/// group is ended.
///
/// # Errors
/// With its exit status and its last lines, when it does not end with 0.
pub async fn run(mut command: std::process::Command) -> Result<(), (String, Vec<String>)> {
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = Command::from(command).spawn();
    let child = child.map_err(|error| (format!("it cannot be run: {error}"), Vec::new()))?;
    let mut group = Group::of(&child);
    let output = child.wait_with_output().await;
    // It is reaped: from now on its number may be another group's.
    group.0 = None;
    let output = output.map_err(|error| (format!("its end was not seen: {error}"), Vec::new()))?;
    if output.status.success() {
        return Ok(());
    }
    let mut tail = crate::logs::Tail::default();
    tail.feed(&output.stdout);
    tail.feed(&output.stderr);
    Err((output.status.to_string(), tail.lines()))
}

/// Ends a process group, unless its first process was reaped before.
struct Group(Option<Pid>);

impl Group {
    fn of(child: &tokio::process::Child) -> Self {
        Self(child.id().and_then(|pid| Pid::from_raw(pid.try_into().ok()?)))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        // Nobody may be left of it.
        let _ = self.0.map(|group| kill_process_group(group, Signal::KILL));
    }
}
