//! Active health checks: what the balancer sends to is asked how it is, so that requests avoid an app that takes
//! connections and does not answer.
//!
//! One task a slot, as long as there is the slot; one question at a time, over a connection of its own. Gates and
//! counts do not see it. An app that has just been switched to was found well by its instance. What a proxy finds when it
//! begins was found by nobody that lives: it is asked at once, and one failure is enough, as with HAProxy's servers.

use crate::config::{Ask, Check};
use crate::control::Behind;
use crate::proxy::Proxy;
use bytes::Bytes;
use everup_core::gate::Upstream;
use everup_core::gate::machine::SlotKey;
use everup_core::ids::InstanceId;
use http::header::{CONNECTION, HOST, USER_AGENT};
use http_body_util::Empty;
use hyper::Request;
use hyper::client::conn::http1;
use hyper_util::rt::TokioIo;
use std::collections::{BTreeMap, BTreeSet};
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::net::TcpStream;
use tokio::task::JoinHandle;

/// Where a proxy says whether an app behind it is well.
pub(crate) const WELL: &str = "/.everup/app";

/// Checks every slot that comes, until it goes; runs as long as the proxy does.
pub(crate) async fn keep(proxy: Rc<Proxy>) {
    let Some(check) = proxy.config.check.clone() else { return };
    let mut tasks = BTreeMap::<SlotKey, JoinHandle<()>>::new();
    let inherited: BTreeSet<SlotKey> = proxy.gates.each(|_, named, _| named.key).into_iter().collect();
    let mut seen = 0;
    loop {
        seen = proxy.gates.until(|| Some(proxy.gates.seq()).filter(|now| *now != seen)).await;
        tasks.retain(|_, task| !task.is_finished());
        for (slot, id, behind) in proxy.gates.each(|id, named, _| (named.key, id.clone(), named.behind)) {
            let unknown = inherited.contains(&slot) && proxy.gates.serving(slot).is_ok_and(|up| up.is_some());
            let begin = || follow(Rc::clone(&proxy), slot, id, for_upstream(&check, behind), unknown);
            tasks.entry(slot).or_insert_with(|| tokio::task::spawn_local(begin()));
        }
    }
}

/// A proxy of ours has counted failures already: its word is enough.
fn for_upstream(check: &Check, behind: Behind) -> Check {
    let asked = Ask::Http { path: WELL.to_owned(), host: None, forwarded_proto: None };
    match behind {
        Behind::App => check.clone(),
        Behind::Proxy => Check { ask: asked, successes: 1, failures: 1, ..check.clone() },
    }
}

/// Checks one slot while it serves; ends when it is gone. Of what serves already nothing may be known.
async fn follow(proxy: Rc<Proxy>, slot: SlotKey, id: InstanceId, check: Check, mut unknown: bool) {
    let gates = &proxy.gates;
    let mut row = Row::default();
    let mut last = None;
    loop {
        let serving = gates.until(|| gates.serving(slot).transpose()).await;
        let Ok(upstream) = serving else { return };
        if last.as_ref() != Some(&upstream) {
            (row, last) = (Row::default(), Some(upstream.clone()));
        }
        let failures = if unknown { 1 } else { check.failures };
        if !std::mem::take(&mut unknown) {
            tokio::time::sleep(check.interval.as_duration()).await;
        }
        let found = ask(&check, upstream.address).await;
        if row.is_enough(found.is_ok(), gates.is_healthy(slot), failures, check.successes) {
            let changed = gates.checked(slot, &upstream, found.is_ok());
            if changed {
                tell(&id, &upstream, found.err());
            }
        }
    }
}

fn tell(id: &InstanceId, upstream: &Upstream, ill: Option<String>) {
    match ill {
        Some(why) => tracing::warn!(
            "{id} at {} is ill ({why}); it gets requests only while no other instance is well",
            upstream.address
        ),
        None => tracing::info!("{id} at {} is well again", upstream.address),
    }
}

/// So many findings, one after the other, spoke against what is believed.
#[derive(Debug, Default)]
struct Row(u32);

impl Row {
    /// Whether `passed` is the last of as many as it takes to believe it.
    fn is_enough(&mut self, passed: bool, healthy: bool, failures: u32, successes: u32) -> bool {
        self.0 = if passed == healthy { 0 } else { self.0 + 1 };
        let wanted = if healthy { failures } else { successes };
        let enough = self.0 >= wanted.max(1);
        if enough {
            self.0 = 0;
        }
        enough
    }
}

/// Asks once; what happened instead of a good answer.
async fn ask(check: &Check, address: SocketAddr) -> Result<(), String> {
    let answer = async {
        let stream = TcpStream::connect(address).await.map_err(|e| e.to_string())?;
        match &check.ask {
            Ask::Tcp => Ok(()),
            Ask::Http { path, host, forwarded_proto } => {
                get(stream, request(address, path, host.as_deref(), forwarded_proto.as_deref())?).await
            }
        }
    };
    let late = |_| format!("no answer within {}", check.deadline);
    tokio::time::timeout(check.deadline.as_duration(), answer).await.map_err(late)?
}

fn request(
    address: SocketAddr,
    path: &str,
    host: Option<&str>,
    forwarded_proto: Option<&str>,
) -> Result<Request<Empty<Bytes>>, String> {
    let mut request = Request::get(path)
        .header(HOST, host.map_or_else(|| address.to_string(), str::to_owned))
        .header(USER_AGENT, concat!("everup/", env!("CARGO_PKG_VERSION"), " health check"))
        .header(CONNECTION, "close");
    if let Some(proto) = forwarded_proto {
        request = request.header("x-forwarded-proto", proto);
    }
    request.body(Empty::new()).map_err(|e| format!("the settings of the check make no request: {e}"))
}

async fn get(stream: TcpStream, request: Request<Empty<Bytes>>) -> Result<(), String> {
    let failed = |e: hyper::Error| format!("no answer in HTTP/1.1: {e}");
    let (mut sender, connection) = http1::handshake(TokioIo::new(stream)).await.map_err(failed)?;
    let drive = async {
        // Its end is seen by the request as well, with a better reason.
        drop(connection.await);
        std::future::pending::<()>().await;
    };
    let answer = tokio::select! {
        answer = sender.send_request(request) => answer.map_err(failed)?,
        () = drive => return Err("the connection ended".to_owned()),
    };
    let status = answer.status();
    if status.is_success() { Ok(()) } else { Err(format!("status {}", status.as_u16())) }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_findings_in_a_row_count() {
        let mut row = Row::default();
        let found = [false, false, true, false, false, false, false, true, false, true, true, true];
        let mut healthy = true;
        let believed = found.map(|passed| {
            healthy ^= row.is_enough(passed, healthy, 3, 2);
            healthy
        });
        assert_eq!(believed, [true, true, true, true, true, false, false, false, false, false, true, true]);
    }
}
