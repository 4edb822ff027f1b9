//! One request, from its arrival to the head of its answer.

use crate::check;
use crate::clients::{Busy, Client};
use crate::config::Role;
use crate::control::Behind;
use crate::download::{Answer, Carried, Download};
use crate::flight::Flight;
use crate::gates::Entry;
use crate::headers;
use crate::hold::{self, Waited};
use crate::meter::{Outcome, Record};
use crate::own::{self, Fault};
use crate::proxy::Proxy;
use crate::send::{Sent, Unsent, send};
use crate::tunnel::tunnel;
use crate::upload::Upload;
use everup_core::gate::Passing;
use everup_core::gate::machine::Refusal;
use http::header::{CONNECTION, CONTENT_LENGTH, CONTENT_TYPE, EXPECT, HeaderValue, UPGRADE};
use http::request::Parts;
use http::{HeaderMap, Method, StatusCode, Version};
use hyper::body::{Body, Incoming};
use hyper::upgrade::OnUpgrade;
use hyper::{Request, Response};
use std::convert::Infallible;
use std::rc::Rc;

/// Answers `request`.
pub(crate) async fn handle(
    proxy: Rc<Proxy>,
    client: Rc<Client>,
    request: Request<Incoming>,
) -> Result<Response<Answer>, Infallible> {
    let busy = client.begins();
    let version = request.version();
    let mut response = if proxy.config.health_paths.iter().any(|path| path == request.uri().path()) {
        own::healthy()
    } else if request.uri().path() == check::WELL {
        own::well(proxy.gates.is_well())
    } else if request.method() == Method::CONNECT {
        own::fault(Fault::NotAProxy)
    } else {
        pass(&proxy, &client, request).await
    };
    if version < Version::HTTP_2 && proxy.closes_after_answers() && !is_upgrade(&response) {
        response.headers_mut().insert(CONNECTION, HeaderValue::from_static("close"));
    }
    response.body_mut().keep(busy);
    Ok(response)
}

fn is_upgrade(response: &Response<Answer>) -> bool {
    response.status() == StatusCode::SWITCHING_PROTOCOLS
}

/// What a request wants to become.
struct Upgrade {
    protocol: HeaderValue,
    client: OnUpgrade,
}

async fn pass(proxy: &Rc<Proxy>, client: &Rc<Client>, mut request: Request<Incoming>) -> Response<Answer> {
    let mut record = Record::begin(&proxy.meter);
    let upgrade = headers::wanted_upgrade(request.version(), request.headers())
        .map(|protocol| Upgrade { protocol, client: hyper::upgrade::on(&mut request) });
    let (parts, body) = request.into_parts();
    let bytes = headers::size(&parts.uri, &parts.headers);
    let upload = Upload::new(body, proxy.config.body_bytes);
    if is_too_large(proxy, &parts.headers) {
        return failed(record, Fault::TooLarge);
    }
    let reads = !expects(&parts.headers, &upload);
    let flight = match enter(proxy, &mut record, bytes, &upload, reads).await {
        Waited::In(flight) => flight,
        Waited::Refused(refusal) => return refused(record, refusal),
        Waited::Unreachable => return failed(record, Fault::Unreachable),
        Waited::TooLarge => return failed(record, Fault::TooLarge),
        // Nobody reads this answer; that the client left is counted as the record is dropped.
        Waited::Left => return Response::new(Answer::none()),
    };
    let version = parts.version;
    let outgoing = outgoing(proxy, client, parts, upload, upgrade.as_ref());
    match send(proxy, flight, outgoing, bytes).await {
        Ok(sent) if sent.response.status() == StatusCode::SWITCHING_PROTOCOLS => {
            switch(client, sent, record, upgrade)
        }
        Ok(sent) => answer(proxy, client, version, sent, record),
        Err(Unsent::Fault(fault)) => failed(record, fault),
        Err(Unsent::Refused(refusal)) => refused(record, refusal),
        Err(Unsent::Left) => Response::new(Answer::none()),
    }
}

fn is_too_large(proxy: &Proxy, headers: &HeaderMap) -> bool {
    let declared = headers.get(CONTENT_LENGTH).and_then(|v| v.to_str().ok()?.parse::<u64>().ok());
    matches!((declared, proxy.config.body_bytes), (Some(declared), Some(limit)) if declared > limit)
}

/// Through the gates, at once or after a wait.
async fn enter(proxy: &Proxy, record: &mut Record, bytes: u64, upload: &Upload, reads: bool) -> Waited {
    if proxy.config.role == Role::Proxy && !proxy.gates.all(Passing::Open) {
        record.is_late();
    }
    match proxy.gates.arrive(record.began(), bytes) {
        Entry::In(flight) => Waited::In(flight),
        Entry::Refused(refusal) => Waited::Refused(refusal),
        Entry::Unreachable => Waited::Unreachable,
        Entry::Waits(waiter) => {
            record.waits();
            // In a box, as all that is rare: what a request's future has room for is moved with each request.
            let waited = Box::pin(hold::wait(waiter, upload, reads)).await;
            if !matches!(waited, Waited::Left) {
                record.passes();
            }
            waited
        }
    }
}

/// The request as the app gets it.
fn outgoing(
    proxy: &Proxy,
    client: &Client,
    parts: Parts,
    upload: Upload,
    upgrade: Option<&Upgrade>,
) -> Request<Upload> {
    let permission = expects(&parts.headers, &upload).then(|| upload.wait_for_permission());
    let (length, has_body) = (upload.size_hint().exact(), !upload.is_end_stream());
    let mut request = Request::new(upload);
    let (mut uri, mut map) = (parts.uri, parts.headers);
    headers::strip_hop(&mut map);
    if parts.version == Version::HTTP_2 {
        headers::join_cookies(&mut map);
    }
    headers::to_origin(&mut uri, &mut map);
    headers::set_forwarded(&mut map, &client.peer, &proxy.config);
    headers::frame(&mut map, length, has_body);
    if let Some(upgrade) = upgrade {
        headers::set_upgrade(&mut map, upgrade.protocol.clone());
    }
    *request.method_mut() = parts.method;
    *request.uri_mut() = uri;
    *request.headers_mut() = map;
    if let Some(permission) = permission {
        hyper::ext::on_informational(&mut request, move |word| {
            if word.status() == StatusCode::CONTINUE {
                permission.notify_one();
            }
        });
    }
    request
}

/// Whether the client sends its body only when it is told to.
fn expects(headers: &HeaderMap, upload: &Upload) -> bool {
    !upload.is_end_stream() && headers.contains_key(EXPECT)
}

/// The app's answer, to the client.
fn answer(
    proxy: &Proxy,
    client: &Client,
    version: Version,
    sent: Sent,
    mut record: Record,
) -> Response<Answer> {
    let Sent { response, flight, connection, upload } = sent;
    let (mut parts, body) = response.into_parts();
    let announced = headers::announced_keep_alive(&parts.headers);
    headers::strip_answer(&mut parts.headers);
    match connection.way.behind {
        // It says that an answer is ours.
        Behind::App => drop(parts.headers.remove(&own::EVERUP_ERROR)),
        Behind::Proxy => record.means(own::meaning(&parts.headers)),
    }
    parts.version = Version::HTTP_11;
    parts.extensions.clear();
    if is_event_stream(&parts.headers) {
        flight.streams();
        record.streams();
    }
    flight.ends_with(connection.task.clone());
    if version < Version::HTTP_2 {
        // An HTTP/2 connection carries others as well.
        client.task().into_iter().for_each(|task| flight.ends_with(task));
    }
    let carried = Carried { flight, connection, record, pool: Rc::clone(&proxy.pool), upload, announced };
    let download = Download::new(body, carried);
    // HTTP/2 takes the head as it is.
    let elsewhere = parts.status == StatusCode::NOT_MODIFIED
        && version < Version::HTTP_2
        && download.is_complete()
        && parts.headers.contains_key(CONTENT_LENGTH);
    let answer = if elsewhere { Answer::elsewhere() } else { Answer::app(download) };
    Response::from_parts(parts, answer)
}

/// Such an answer can be ended cleanly in the middle, and its client comes again by itself.
fn is_event_stream(headers: &HeaderMap) -> bool {
    headers
        .get(CONTENT_TYPE)
        .is_some_and(|t| t.as_bytes().to_ascii_lowercase().starts_with(b"text/event-stream"))
}

/// Both sides speak something else from now on.
fn switch(from: &Rc<Client>, sent: Sent, record: Record, upgrade: Option<Upgrade>) -> Response<Answer> {
    let Sent { mut response, flight, .. } = sent;
    let Some(Upgrade { client, .. }) = upgrade else { return failed(record, Fault::BadAnswer) };
    let protocol = response.headers().get(UPGRADE).cloned();
    let websocket = protocol.as_ref().is_some_and(|p| p.as_bytes().eq_ignore_ascii_case(b"websocket"));
    let app = hyper::upgrade::on(&mut response);
    let mut map = std::mem::take(response.headers_mut());
    headers::strip_hop(&mut map);
    protocol.into_iter().for_each(|protocol| headers::set_upgrade(&mut map, protocol));
    let busy = from.begins();
    begin_tunnel(client, app, flight, record, websocket, busy);
    let mut response = Response::new(Answer::none());
    *response.status_mut() = StatusCode::SWITCHING_PROTOCOLS;
    *response.headers_mut() = map;
    response
}

/// `busy` keeps the client's connection in the count of those that are open.
fn begin_tunnel(
    client: OnUpgrade,
    app: OnUpgrade,
    flight: Flight,
    mut record: Record,
    websocket: bool,
    busy: Busy,
) {
    flight.streams();
    record.streams();
    let inside = flight.inside();
    let task = tokio::task::spawn_local(async move {
        let _busy = busy;
        // The client's side is ready when our answer has been written.
        match tokio::try_join!(client, app) {
            Ok((client, app)) => tunnel(client, app, flight, record, websocket).await,
            Err(e) => tracing::debug!("an upgrade did not come about: {e}"),
        }
    });
    inside.ends_with(task.abort_handle());
}

fn failed(record: Record, fault: Fault) -> Response<Answer> {
    record.finish(fault.outcome());
    own::fault(fault)
}

fn refused(record: Record, refusal: Refusal) -> Response<Answer> {
    record.finish(Outcome::Refused);
    own::refused(refusal)
}
