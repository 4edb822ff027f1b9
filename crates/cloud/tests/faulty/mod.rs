//! A proxy before an S3 server that is slow, and loses answers: it carries a conditional write out and says nothing, or something
//! else; or it does not carry it out. Each write meets the fault once: tried again, it goes through. It also keeps writes back, and
//! carries them out when whoever sent them may be long dead.

use std::collections::BTreeSet;
use std::io::{BufRead, BufReader, Error, Read, Result, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Condvar, Mutex, MutexGuard};
use std::time::Duration;

/// What becomes of the first attempt at a conditional write.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Carried out; the connection ends before the answer.
    AnswerLost,
    /// Carried out; no answer comes as long as the client waits for one.
    Silent,
    /// Carried out, and answered 500.
    Fails,
    /// Not carried out: 409, as S3 answers when two writes meet.
    Conflict,
    /// Not carried out: 503.
    Busy,
}

impl Fault {
    const fn is_carried_out(self) -> bool {
        matches!(self, Self::AnswerLost | Self::Silent | Self::Fails)
    }

    /// What the client gets; nothing if its connection is to end.
    const fn answer(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::AnswerLost | Self::Silent => None,
            Self::Fails => Some(("500 Internal Server Error", "InternalError")),
            Self::Conflict => Some(("409 Conflict", "ConditionalRequestConflict")),
            Self::Busy => Some(("503 Service Unavailable", "SlowDown")),
        }
    }
}

/// The proxy. Its thread lives as long as the process.
#[derive(Debug, Clone)]
pub(crate) struct Proxy {
    address: SocketAddr,
    state: Arc<Mutex<State>>,
    let_go: Arc<Condvar>,
}

#[derive(Debug, Default)]
struct State {
    fault: Option<Fault>,
    /// Path and precondition of each write that met the fault.
    met: BTreeSet<String>,
    /// So long each request waits before it is carried out.
    delay: Duration,
    /// Conditional writes of objects with these words in them are kept back.
    kept: Option<String>,
    /// How many are.
    waiting: usize,
}

/// A request's head and body as they came.
struct Request {
    head: Vec<String>,
    body: Vec<u8>,
}

impl Proxy {
    /// Before the server at `endpoint`, `http://host:port`.
    pub(crate) fn before(endpoint: &str) -> Self {
        let server: SocketAddr = endpoint.trim_start_matches("http://").parse().expect("an address");
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).expect("a free port");
        let proxy = Self {
            address: listener.local_addr().expect("its port"),
            state: Arc::default(),
            let_go: Arc::default(),
        };
        let accepting = proxy.clone();
        std::thread::spawn(move || {
            for client in listener.incoming().filter_map(Result::ok) {
                let one = accepting.clone();
                // A client that hangs up is what these tests are about.
                std::thread::spawn(move || one.serve(client, server).ok());
            }
        });
        proxy
    }

    /// Its own address.
    pub(crate) fn endpoint(&self) -> String {
        format!("http://{}", self.address)
    }

    /// From now on writes meet this fault, each once.
    pub(crate) fn set(&self, fault: Option<Fault>) {
        let mut state = self.state();
        (state.fault, state.met) = (fault, BTreeSet::new());
    }

    /// From now on each request takes so much longer.
    pub(crate) fn delay(&self, delay: Duration) {
        self.state().delay = delay;
    }

    /// Each write that met the fault: its request line, and its precondition.
    pub(crate) fn met(&self) -> BTreeSet<String> {
        self.state().met.clone()
    }

    /// From now on conditional writes of objects with `words` in them are not carried out.
    pub(crate) fn keep_back(&self, words: &str) {
        self.state().kept = Some(words.to_owned());
    }

    /// How many are kept back.
    pub(crate) fn waiting(&self) -> usize {
        self.state().waiting
    }

    /// All that are kept back are on their way now, and none is any more.
    pub(crate) fn let_go(&self) {
        let mut state = self.state();
        state.kept = None;
        self.let_go.notify_all();
        drop(self.let_go.wait_while(state, |state| state.waiting > 0).expect("nobody panics here"));
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().expect("nobody panics here")
    }

    fn serve(&self, mut client: TcpStream, server: SocketAddr) -> Result<()> {
        client.set_read_timeout(Some(Duration::from_secs(30)))?;
        let request = Request::read(&client)?;
        let delay = self.state().delay;
        std::thread::sleep(delay);
        self.await_leave(&request);
        let fault = self.fault_of(&request);
        let carried_out = fault.is_none_or(Fault::is_carried_out);
        let answer = if carried_out { request.forward(server)? } else { Vec::new() };
        if fault == Some(Fault::Silent) {
            // Ends when the client does.
            let _ = client.read(&mut [0]);
        }
        match fault.map(Fault::answer) {
            None => client.write_all(&answer),
            Some(None) => Ok(()),
            Some(Some((status, code))) => {
                let body = format!("<?xml version=\"1.0\"?><Error><Code>{code}</Code></Error>");
                let length = body.len();
                write!(
                    client,
                    "HTTP/1.1 {status}\r\nContent-Type: application/xml\r\nContent-Length: {length}\r\n\
                     Connection: close\r\n\r\n{body}"
                )
            }
        }
    }

    fn await_leave(&self, request: &Request) {
        let text = String::from_utf8_lossy(&request.body);
        let is_kept = |state: &mut State| state.kept.as_ref().is_some_and(|words| text.contains(words));
        let mut state = self.state();
        if request.condition().is_none() || !is_kept(&mut state) {
            return;
        }
        state.waiting += 1;
        let mut state = self.let_go.wait_while(state, is_kept).expect("nobody panics here");
        state.waiting -= 1;
        self.let_go.notify_all();
    }

    /// The fault, if `request` is a conditional write that has not met it.
    fn fault_of(&self, request: &Request) -> Option<Fault> {
        let condition = request.condition()?;
        let mut state = self.state();
        let fault = state.fault?;
        state.met.insert(format!("{} {condition}", request.head[0])).then_some(fault)
    }
}

impl Request {
    fn read(client: &TcpStream) -> Result<Self> {
        let mut from = BufReader::new(client);
        let mut request = Self { head: Vec::new(), body: Vec::new() };
        loop {
            let mut line = String::new();
            if from.read_line(&mut line)? == 0 {
                return Err(Error::other("the client hung up"));
            }
            match line.trim_end() {
                "" => break,
                line => request.head.push(line.to_owned()),
            }
        }
        let length = request.field("content-length").and_then(|text| text.parse().ok()).unwrap_or(0);
        request.body = vec![0; length];
        from.read_exact(&mut request.body)?;
        Ok(request)
    }

    /// What has to be so for the write that it is.
    fn condition(&self) -> Option<&str> {
        let condition = self.field("if-match").or_else(|| self.field("if-none-match"))?;
        self.head[0].starts_with("PUT ").then_some(condition)
    }

    fn field(&self, name: &str) -> Option<&str> {
        let fields = self.head.iter().skip(1).filter_map(|line| line.split_once(':'));
        fields.filter(|(found, _)| found.eq_ignore_ascii_case(name)).map(|(_, value)| value.trim()).next()
    }

    /// The server's whole answer. The head goes on as it was signed.
    fn forward(&self, server: SocketAddr) -> Result<Vec<u8>> {
        let mut stream = TcpStream::connect(server)?;
        stream.set_read_timeout(Some(Duration::from_secs(30)))?;
        let kept = self.head.iter().filter(|line| !line.to_ascii_lowercase().starts_with("connection:"));
        let head = kept.fold(String::new(), |text, line| text + line + "\r\n") + "Connection: close\r\n\r\n";
        stream.write_all(head.as_bytes())?;
        stream.write_all(&self.body)?;
        let mut answer = Vec::new();
        stream.read_to_end(&mut answer)?;
        Ok(answer)
    }
}
