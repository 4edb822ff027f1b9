//! A request to an app, and who may send it twice.
//!
//! Nothing was sent: any method, over another connection, to another instance; and so what a proxy of ours says it sent
//! to nobody, as long as its body can be had again. Sent over a connection that had been
//! used before, and not a byte of an answer: GET, HEAD and OPTIONS without a body, once, over a fresh connection.
//! Everything else is sent once.

use crate::control::Behind;
use crate::flight::{Ending, Flight, GivenUp};
use crate::gates::Entry;
use crate::headers::is_repeatable;
use crate::own::{self, Fault};
use crate::pool::Connection;
use crate::proxy::Proxy;
use crate::upload::{Progress, Upload};
use everup_core::gate::machine::{Refusal, SlotKey};
use hyper::body::{Body, Incoming};
use hyper::client::conn::TrySendError;
use hyper::{Request, Response};
use std::rc::Rc;
use std::time::{Duration, Instant};
use tokio::time::timeout_at;

/// A request that has its answer's head.
pub(crate) struct Sent {
    pub(crate) response: Response<Incoming>,
    pub(crate) flight: Flight,
    pub(crate) connection: Connection,
    pub(crate) upload: Rc<Progress>,
}

/// A request that has not.
pub(crate) enum Unsent {
    /// An answer of ours.
    Fault(Fault),
    /// No gate takes it any more.
    Refused(Refusal),
    /// Its client broke it off.
    Left,
}

impl From<Fault> for Unsent {
    fn from(fault: Fault) -> Self {
        Self::Fault(fault)
    }
}

/// Who looks after an app hears of its death within a moment, and has its gate keep what arrives. Who came in between waits
/// for that so long, and is not failed for it.
const NOTICED: Duration = Duration::from_secs(1);

/// Where a request was not taken.
#[derive(Default)]
struct Search {
    tried: Vec<SlotKey>,
    /// Nobody took it; what the gates say is waited for until then.
    until: Option<Instant>,
}

/// Connections that turn out to be closed before anything was sent over them; more than a full pool of them in a
/// row, and something is wrong.
const UNSENT: u32 = 3;

enum Attempt {
    Answered(Response<Incoming>),
    /// Nothing was sent; here is the request again.
    Unsent(Box<Request<Upload>>),
    /// It was sent, and not a byte came back.
    Silent,
    Failed(Unsent),
}

/// Sends `request`, which takes `bytes` of memory should it have to wait again, as often as it may be sent.
pub(crate) async fn send(
    proxy: &Proxy,
    mut flight: Flight,
    mut request: Request<Upload>,
    bytes: u64,
) -> Result<Sent, Unsent> {
    let repeatable = is_repeatable(request.method(), !request.body().is_end_stream());
    let mut pooled = Some(repeatable);
    let mut search = Search::default();
    for _ in 0..=UNSENT {
        let mut connection;
        (flight, connection) = reach(proxy, flight, pooled.take(), &mut search, bytes).await?;
        let upload = request.body().progress();
        let copy = copy_if_needed(&request, &connection, repeatable);
        match attempt(&flight, &mut connection, request, &upload).await {
            Attempt::Answered(response) => match unsent(&response, &connection, copy, &upload) {
                None => return Ok(Sent { response, flight, connection, upload }),
                Some(again) => {
                    request = again;
                    connection.task.abort();
                    search.tried.push(connection.way.slot);
                    flight = elsewhere(proxy, flight, &mut search, bytes).await?;
                    pooled = Some(repeatable);
                }
            },
            Attempt::Unsent(again) => request = *again,
            Attempt::Silent => {
                request = copy.filter(|_| repeatable && connection.used).ok_or(Fault::Unknown)?;
            }
            Attempt::Failed(why) => return Err(why),
        }
    }
    Err(Fault::Unreachable.into())
}

/// The request once more, should it have to be sent again: after a used connection has ended without a word, or a
/// proxy of ours has found nobody.
fn copy_if_needed(
    request: &Request<Upload>,
    connection: &Connection,
    repeatable: bool,
) -> Option<Request<Upload>> {
    let before_proxy = connection.way.behind == Behind::Proxy;
    if before_proxy {
        request.body().keep();
    }
    (before_proxy || (repeatable && connection.used)).then(|| copy(request))
}

/// The request again if a proxy of ours sent it to nobody, and all of its body is still here.
fn unsent(
    response: &Response<Incoming>,
    connection: &Connection,
    copy: Option<Request<Upload>>,
    upload: &Rc<Progress>,
) -> Option<Request<Upload>> {
    if connection.way.behind != Behind::Proxy || !own::says_unsent(response) {
        return None;
    }
    let mut again = copy?;
    *again.body_mut() = upload.take_back()?;
    Some(again)
}

/// The same request, without its body.
fn copy(request: &Request<Upload>) -> Request<Upload> {
    let mut copy = Request::new(Upload::none());
    copy.method_mut().clone_from(request.method());
    copy.uri_mut().clone_from(request.uri());
    copy.headers_mut().clone_from(request.headers());
    copy.extensions_mut().clone_from(request.extensions());
    copy
}

/// A connection to the app behind the gate; from the pool if `pooled` (and then for a repeatable request, or not).
/// Where none can be had, another gate may take the request.
async fn reach(
    proxy: &Proxy,
    mut flight: Flight,
    pooled: Option<bool>,
    search: &mut Search,
    bytes: u64,
) -> Result<(Flight, Connection), Unsent> {
    loop {
        let way = flight.way();
        if let Some(connection) =
            pooled.and_then(|repeatable| proxy.pool.take(way, repeatable, flight.since()))
        {
            return Ok((flight, connection));
        }
        match Box::pin(proxy.pool.connect(way)).await {
            Ok(connection) => {
                flight.reached();
                return Ok((flight, connection));
            }
            Err(e) => {
                tracing::debug!("no connection to {}: {e}", way.address);
                search.tried.push(way.slot);
                flight = elsewhere(proxy, flight, search, bytes).await?;
            }
        }
    }
}

async fn elsewhere(proxy: &Proxy, flight: Flight, search: &mut Search, bytes: u64) -> Result<Flight, Unsent> {
    let seen = proxy.gates.seq();
    let mut entry = proxy.gates.unreachable(flight, &search.tried, bytes);
    if matches!(entry, Entry::Unreachable) {
        let until = *search.until.get_or_insert_with(|| Instant::now() + NOTICED);
        let changed = proxy.gates.until(|| (proxy.gates.seq() != seen).then_some(()));
        timeout_at(until.into(), changed).await.map_err(|_| Fault::Unreachable)?;
        search.tried.clear();
        entry = proxy.gates.arrive(Instant::now(), bytes);
    }
    match entry {
        Entry::In(flight) => Ok(flight),
        Entry::Unreachable => Err(Fault::Unreachable.into()),
        Entry::Refused(refusal) => Err(Unsent::Refused(refusal)),
        Entry::Waits(waiter) => {
            search.tried.clear();
            waiter.await.map_err(Unsent::Refused)
        }
    }
}

async fn attempt(
    flight: &Flight,
    connection: &mut Connection,
    request: Request<Upload>,
    upload: &Rc<Progress>,
) -> Attempt {
    let before = connection.traffic.read();
    flight.awaits(upload);
    let fault = tokio::select! {
        biased;
        answer = connection.sender.try_send_request(request) => {
            flight.is_answered();
            return answer.map_or_else(|e| judge(e, connection, before, upload), Attempt::Answered);
        }
        why = flight.given_up() => match why {
            GivenUp::Overdue => Fault::TimedOut,
            GivenUp::Drained => {
                flight.ended(Ending::Cut);
                Fault::Drained
            }
        },
    };
    connection.task.abort();
    Attempt::Failed(fault.into())
}

fn judge(
    mut error: TrySendError<Request<Upload>>,
    connection: &Connection,
    before: u64,
    upload: &Progress,
) -> Attempt {
    if let Some(request) = error.take_message() {
        return Attempt::Unsent(Box::new(request));
    }
    tracing::debug!("no answer from {}: {}", connection.way.address, error.error());
    if upload.too_large() {
        Attempt::Failed(Fault::TooLarge.into())
    } else if upload.broke() {
        Attempt::Failed(Unsent::Left)
    } else if connection.traffic.read() == before {
        Attempt::Silent
    } else {
        Attempt::Failed(Fault::BadAnswer.into())
    }
}
