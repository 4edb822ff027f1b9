//! The proxy's side of its control socket.

use super::wire::{Command, Hello, LONGEST_LINE, NewSlot, Reply, SlotState, Slots};
use crate::gates::{Draining, NoSlot};
use crate::proxy::Proxy;
use everup_core::gate::machine::Kept;
use everup_core::gate::{Drain, Drained, Idle, Passing, Upstream};
use everup_core::ids::InstanceId;
use everup_core::time::Millis;
use rustix::process::geteuid;
use serde::Serialize;
use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::Semaphore;

/// Callers at once: the keeper and each agent use a handful.
const CALLERS: usize = 512;

/// Opens the socket at `path`, in place of one that a dead process left behind.
pub(crate) fn bind(path: &Path) -> io::Result<UnixListener> {
    match std::fs::remove_file(path) {
        Err(e) if e.kind() != io::ErrorKind::NotFound => return Err(e),
        _ => {}
    }
    let listener = UnixListener::bind(path)?;
    std::fs::set_permissions(path, Permissions::from_mode(0o600))?;
    Ok(listener)
}

/// Answers callers for as long as the proxy runs.
pub(crate) async fn serve(proxy: Rc<Proxy>, listener: UnixListener) {
    let callers = Arc::new(Semaphore::new(CALLERS));
    loop {
        let place = Arc::clone(&callers).acquire_owned().await;
        match listener.accept().await {
            Ok((stream, _)) if is_ours(&stream) => {
                let proxy = Rc::clone(&proxy);
                tokio::task::spawn_local(async move {
                    let _place = place;
                    if let Err(e) = converse(&proxy, stream).await {
                        tracing::debug!("a control connection broke: {e}");
                    }
                });
            }
            Ok(_) => tracing::warn!("refused a control connection of another user"),
            Err(e) => {
                tracing::warn!("cannot accept control connections: {e}; trying again in 100 ms");
                tokio::time::sleep(Duration::from_millis(100)).await;
            }
        }
    }
}

fn is_ours(stream: &UnixStream) -> bool {
    stream.peer_cred().is_ok_and(|peer| peer.uid() == geteuid().as_raw() || peer.uid() == 0)
}

async fn converse(proxy: &Rc<Proxy>, stream: UnixStream) -> io::Result<()> {
    let mut handing = HandingOver { proxy, began: false };
    let mut stream = BufReader::new(stream);
    let mut line = Vec::new();
    loop {
        line.clear();
        // A caller of one that retires finds its successor behind the same socket.
        let mut bounded = (&mut stream).take(LONGEST_LINE);
        let n = tokio::select! {
            n = bounded.read_until(b'\n', &mut line) => n?,
            () = proxy.retires() => 0,
        };
        if n == 0 {
            return Ok(());
        }
        let reply = match serde_json::from_slice(&line) {
            Err(e) => Reply::Refused(format!("not a command that this proxy knows: {e}")),
            Ok(command) => {
                handing.note(&command);
                // Who hangs up waits no more; but what was asked is begun first, in any case.
                tokio::select! {
                    biased;
                    reply = answer(proxy, command) => reply,
                    () = hung_up(&mut stream) => return Ok(()),
                    () = proxy.retires() => return Ok(()),
                }
            }
        };
        let mut bytes = serde_json::to_vec(&reply)?;
        bytes.push(b'\n');
        stream.write_all(&bytes).await?;
    }
}

/// A successor that hangs up before it serves has failed: this proxy goes on.
struct HandingOver<'a> {
    proxy: &'a Proxy,
    began: bool,
}

impl HandingOver<'_> {
    fn note(&mut self, command: &Command) {
        self.began |= *command == Command::HandOver && self.proxy.takes_orders().is_ok();
    }
}

impl Drop for HandingOver<'_> {
    fn drop(&mut self) {
        if self.began && !self.proxy.is_retiring() {
            self.proxy.resume();
        }
    }
}

async fn hung_up(stream: &mut BufReader<UnixStream>) {
    if stream.fill_buf().await.is_ok_and(|more| !more.is_empty()) {
        std::future::pending::<()>().await;
    }
}

type Answer = Result<serde_json::Value, String>;

async fn answer(proxy: &Rc<Proxy>, command: Command) -> Reply {
    match carry_out(proxy, command).await {
        Ok(value) => Reply::Done(value),
        Err(reason) => Reply::Refused(reason),
    }
}

async fn carry_out(proxy: &Rc<Proxy>, command: Command) -> Answer {
    let gates = &proxy.gates;
    if command.is_order() {
        proxy.takes_orders().map_err(text)?;
    }
    match command {
        Command::Hello => value(hello(proxy)),
        Command::AddSlot(slot) => add_slot(proxy, slot).await,
        Command::RemoveSlot { id } => {
            if let Some(key) = gates.remove(&id) {
                proxy.pool.close(key);
            }
            stored(proxy).await
        }
        Command::Join { id } => {
            gates.balance(&id, true).map_err(text)?;
            stored(proxy).await
        }
        Command::Leave { id } => {
            gates.balance(&id, false).map_err(text)?;
            stored(proxy).await
        }
        Command::Slots { since, within } => value(slots(proxy, since, within).await),
        Command::Measure { window } => value(proxy.meter.measure(window)),
        Command::Hold { id, hold } => {
            gates.hold(&id, &hold).map_err(text)?.map_err(text)?;
            stored(proxy).await
        }
        Command::Idle { id, within } => value(idle(proxy, &id, within).await.map_err(text)?),
        Command::Seal { id, hold } => {
            let sealed = gates.seal(&id, hold.as_ref()).map_err(text)?;
            gates.key(&id).into_iter().for_each(|key| proxy.pool.close(key));
            stored(proxy).await?;
            value(sealed)
        }
        Command::Drain { id, drain } => value(drained(proxy, &id, drain).await?),
        Command::Switch { id, to } => switch(proxy, &id, &to).await,
        Command::Release { id } => release(proxy, &id).await,
        Command::Counts { id } => value(gates.counts(&id).map_err(text)?),
        Command::HandOver => value(proxy.pause().map_err(text)?),
        Command::HandedOver { within } => {
            proxy.retire(within);
            value(())
        }
        Command::Close { within } => {
            gates.close();
            proxy.retire(within);
            value(())
        }
    }
}

fn value(value: impl Serialize) -> Answer {
    serde_json::to_value(value).map_err(text)
}

#[expect(clippy::needless_pass_by_value, reason = "the form that map_err takes")]
fn text<E: ToString>(error: E) -> String {
    error.to_string()
}

/// Done is said only of what is stored.
async fn stored(proxy: &Proxy) -> Answer {
    proxy.store().await.map_err(|e| format!("it was done, but could not be stored: {e}"))?;
    value(())
}

fn hello(proxy: &Proxy) -> Hello {
    Hello {
        pid: std::process::id(),
        version: env!("CARGO_PKG_VERSION").to_owned(),
        since: proxy.since,
        retiring: proxy.is_retiring(),
    }
}

async fn add_slot(proxy: &Proxy, slot: NewSlot) -> Answer {
    let kept = match slot.upstream {
        None => Kept::expected(slot.balanced),
        Some(upstream) => {
            own(&upstream)?;
            Kept::open(upstream, slot.balanced)
        }
    };
    proxy.gates.add(&slot.id, slot.zone, slot.behind, &kept);
    stored(proxy).await
}

/// A gate sends to its own machine only, whoever says otherwise.
fn own(upstream: &Upstream) -> Result<(), String> {
    let ip = upstream.address.ip();
    // An address that one can bind to is one's own.
    if ip.is_loopback() || (!ip.is_unspecified() && std::net::UdpSocket::bind((ip, 0)).is_ok()) {
        return Ok(());
    }
    Err(format!("{} is not an address of this machine; a gate sends nowhere else", upstream.address))
}

async fn slots(proxy: &Proxy, since: u64, within: Millis) -> Slots {
    let gates = &proxy.gates;
    let newer = gates.until(|| (gates.seq() != since).then_some(()));
    // At the deadline the answer is the present state all the same.
    drop(tokio::time::timeout(within.as_duration(), newer).await);
    let slots = gates.each(|id, named, machine| {
        Some(SlotState {
            id: id.clone(),
            zone: named.zone.clone(),
            balanced: machine.balanced(named.key),
            healthy: machine.healthy(named.key),
            counts: machine.counts(named.key)?,
            upstream: machine.upstream(named.key).cloned(),
            hold: machine.hold_id(named.key).cloned(),
        })
    });
    Slots { seq: gates.seq(), slots: slots.into_iter().flatten().collect() }
}

async fn idle(proxy: &Proxy, id: &InstanceId, within: Millis) -> Result<Idle, NoSlot> {
    let gates = &proxy.gates;
    let idle = gates.until(|| match gates.idle(id) {
        Ok(false) => None,
        Ok(true) => Some(Ok(Idle::Yes)),
        Err(gone) => Some(Err(gone)),
    });
    match tokio::time::timeout(within.as_duration(), idle).await {
        Ok(idle) => idle,
        Err(_) => gates
            .counts(id)
            .map(|c| Idle::No(if c.passing == Passing::Open { c.former } else { c.in_flight })),
    }
}

async fn drained(proxy: &Rc<Proxy>, id: &InstanceId, drain: Drain) -> Result<Drained, String> {
    let gates = &proxy.gates;
    let key = gates.drain(id, &drain).map_err(text)?;
    proxy.says_goodbye();
    let done = gates
        .until(|| match gates.draining(id) {
            Ok(Draining::Running(_)) => None,
            Ok(Draining::Done(drained)) => Some(Ok(drained)),
            Ok(Draining::TakenBack) => {
                Some(Err("the drain was taken back by a hold or a release".to_owned()))
            }
            Err(gone) => Some(Err(gone.to_string())),
        })
        .await?;
    // In this order, so that the app never closes first: gate shut, nothing in flight, we close, then it is stopped.
    proxy.pool.close(key);
    stored(proxy).await?;
    Ok(done)
}

async fn switch(proxy: &Proxy, id: &InstanceId, to: &Upstream) -> Answer {
    own(to)?;
    let key = proxy.gates.switch(id, to).map_err(text)?;
    proxy.pool.close(key);
    stored(proxy).await
}

async fn release(proxy: &Proxy, id: &InstanceId) -> Answer {
    proxy.gates.release(id).map_err(text)?.map_err(text)?;
    stored(proxy).await
}
