//! Health checks: the port belongs to a process of this start, the app answers, and says which version it is.

use super::ProcessRuntime;
use super::process::owner;
use super::wait::ended;
use crate::adopt::{Standing, standing};
use crate::health::{Answer, Ask, ask, connect, run};
use crate::minder::{State, become_user};
use crate::proc::{Identity, Listener, below, is_socket, listening_on, sockets_of};
use crate::settings::Check;
use everup_core::ids::{StartId, Version};
use everup_core::instance::{Health, Problem, Running, Slot};
use std::cell::RefCell;
use std::collections::{BTreeMap, BTreeSet};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::os::unix::process::CommandExt;
use std::process::Command;
use std::time::Duration;
use tokio::time::{sleep, timeout};

/// Sockets that were proven to belong to a start; so that a check of a serving app looks at one descriptor and the
/// kernel's list of listeners, not at every process of the machine.
#[derive(Default)]
pub(super) struct Proofs(RefCell<BTreeMap<StartId, Proof>>);

#[derive(Clone)]
struct Proof {
    inode: u64,
    pid: u32,
    fd: u32,
    /// Every socket that listened on the port then: a stranger may take a share of it later (SO_REUSEPORT).
    listeners: BTreeSet<u64>,
    /// Where the app can be reached.
    addresses: Vec<SocketAddr>,
}

/// Between two looks whether an app's first words are there.
const WORDS_LOOK: Duration = Duration::from_millis(20);
/// Two seconds of looks, at a start that fails anyway: an app may have nothing to say.
const WORDS_LOOKS: u32 = 100;

/// The local addresses that an app may listen on, in the order in which they are tried.
const LOCAL: [IpAddr; 2] = [IpAddr::V4(Ipv4Addr::LOCALHOST), IpAddr::V6(Ipv6Addr::LOCALHOST)];

impl ProcessRuntime {
    pub(super) async fn check_app(&self, running: &Running) -> Result<Health, Problem> {
        let state = self.state(running);
        let state = state.ok_or_else(|| Problem::new("process", "the app is not running: start it"))?;
        if standing(&state) != Standing::Minded {
            return Err(not_running(state));
        }
        let deadline = self.setup.health.deadline;
        let late = |name: String| Problem::new(name, format!("no answer within {deadline}"));
        let judged = async {
            let addresses = self.prove(running, &state)?;
            self.answers(running, &addresses).await?;
            let version = self.version(running, &addresses).await?;
            Ok(Health { version, address: addresses.first().copied(), log: Vec::new() })
        };
        let judged = timeout(deadline.as_duration(), judged).await;
        let judged = judged.unwrap_or_else(|_| Err(late(self.check_name())));
        let problem = match judged {
            Ok(mut health) => {
                if health.version.as_ref().is_some_and(|says| *says != running.release.version) {
                    health.log = self.first_words(&state, running.slot).await;
                }
                return Ok(health);
            }
            Err(problem) => problem,
        };
        Err(match self.just_ended(running).await {
            Some(end) => end,
            None => self.with_log(problem, running),
        })
    }

    /// How the app ended, if that is why it does not answer: its minder says it in a moment, when all of it has ended.
    async fn just_ended(&self, running: &Running) -> Option<Problem> {
        let state = self.state(running)?;
        if state.child.as_ref().is_none_or(Identity::lives) {
            return None;
        }
        let told = timeout(self.setup.health.deadline.as_duration(), ended(&state.minder)).await;
        told.ok()?.ok()?;
        self.state(running).map(not_running)
    }

    /// What it wrote, of an app that answered as soon as it ran: its minder may be about to pass that on, and tells nobody
    /// when it has.
    async fn first_words(&self, state: &State, slot: Slot) -> Vec<String> {
        for _ in 0..WORDS_LOOKS {
            let words = self.last_words(state, slot);
            if !words.is_empty() {
                return words;
            }
            sleep(WORDS_LOOK).await;
        }
        Vec::new()
    }

    /// Adds the app's own last words, unless the problem has some of its own.
    fn with_log(&self, mut problem: Problem, running: &Running) -> Problem {
        if problem.log.is_empty() {
            problem.log =
                self.state(running).map_or_else(Vec::new, |state| self.last_words(&state, running.slot));
        }
        problem
    }

    fn check_name(&self) -> String {
        match &self.setup.health.check {
            Check::Http { path, .. } => format!("health check GET {path}"),
            Check::Tcp => "health check by connection".to_owned(),
            Check::Command(command) => format!("health check `{command}`"),
        }
    }

    /// `running`, with the address where it listens: an app may do so on `::1` alone.
    pub(super) fn located(&self, mut running: Running, state: &State) -> Running {
        if let Some(address) = self.prove(&running, state).ok().and_then(|at| at.first().copied()) {
            running.upstream.address = address;
        }
        running
    }

    /// Proves that whoever answers on the port is of this start; returns where it can be reached.
    fn prove(&self, running: &Running, state: &State) -> Result<Vec<SocketAddr>, Problem> {
        let start = &running.upstream.start;
        let known = self.proofs.0.borrow().get(start).cloned();
        let stands = |proof: &Proof| {
            is_socket(proof.pid, proof.fd, proof.inode)
                && inodes(&local_listeners(running.upstream.address.port()).0) == proof.listeners
        };
        if let Some(proof) = known.filter(stands) {
            return Ok(proof.addresses);
        }
        let proof = self.look_for_owner(running, state).map_err(|why| Problem::new("port", why))?;
        let addresses = proof.addresses.clone();
        let mut proofs = self.proofs.0.borrow_mut();
        // Two starts live at a time; what is older has ended.
        if proofs.len() > 4 {
            proofs.clear();
        }
        proofs.insert(start.clone(), proof);
        Ok(addresses)
    }

    fn look_for_owner(&self, running: &Running, state: &State) -> Result<Proof, String> {
        let port = running.upstream.address.port();
        let owned = owned_sockets(state.minder.pid);
        let has = |listener: &Listener| owned.contains_key(&listener.inode);
        let (listeners, elsewhere) = local_listeners(port);
        if let Some(stranger) = listeners.iter().find(|listener| !has(listener)) {
            let owner = owner(stranger);
            return Err(format!("port {port} is listened on by {owner}, which is not of this start: end it"));
        }
        let other = self.setup.port(running.slot.other());
        if listening_on(other).iter().any(has) {
            return Err(format!(
                "the app listens on port {other}, the other release's: it must listen on $PORT, {port}, only"
            ));
        }
        let (pid, fd, inode) = listeners
            .iter()
            .find_map(|listener| owned.get(&listener.inode).map(|(pid, fd)| (*pid, *fd, listener.inode)))
            .ok_or_else(|| nobody_listens(port, elsewhere.iter().any(has), &owned))?;
        let reached =
            LOCAL.into_iter().filter(|local| listeners.iter().any(|listener| listener.takes(*local)));
        let addresses: Vec<SocketAddr> = reached.map(|local| SocketAddr::new(local, port)).collect();
        Ok(Proof { inode, pid, fd, listeners: inodes(&listeners), addresses })
    }

    async fn answers(&self, running: &Running, addresses: &[SocketAddr]) -> Result<(), Problem> {
        let problem = |reason: String| Problem::new(self.check_name(), reason);
        match &self.setup.health.check {
            Check::Tcp => {
                first(addresses, async |address| connect(address).await).await.map(drop).map_err(problem)
            }
            Check::Http { path, .. } => {
                let answer = self.get(path, addresses).await.map_err(problem)?;
                if answer.passes() { Ok(()) } else { Err(problem(answer.describe())) }
            }
            Check::Command(command) => {
                let command = self.check_command(command, running).map_err(problem)?;
                run(command).await.map_err(|(reason, log)| Problem { log, ..problem(reason) })
            }
        }
    }

    async fn get(&self, path: &str, addresses: &[SocketAddr]) -> Result<Answer, String> {
        let (host, forwarded_proto) = match &self.setup.health.check {
            Check::Http { host, forwarded_proto, .. } => (host.as_deref(), forwarded_proto.as_deref()),
            _ => (None, None),
        };
        let request = Ask { path, host, forwarded_proto };
        first(addresses, async |address| ask(address, &request).await).await
    }

    /// As the app is run: in its folder, with its environment, by its user.
    fn check_command(&self, text: &str, running: &Running) -> Result<Command, String> {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", text]).current_dir(self.releases.folder(&running.release)).process_group(0);
        if let Some(user) = &self.setup.app.user {
            become_user(&mut command, user)?;
        }
        command.envs(self.env_of(&running.release)).env("PORT", running.upstream.address.port().to_string());
        Ok(command)
    }

    async fn version(&self, running: &Running, addresses: &[SocketAddr]) -> Result<Option<Version>, Problem> {
        let Some(path) = &self.setup.health.version_path else { return Ok(None) };
        let problem = |reason: String| Problem::new("version", format!("GET {path}: {reason}"));
        let answer = self.get(path, addresses).await.map_err(problem)?;
        let said = answer.passes().then(|| version_in(&answer.body, &running.release.version)).flatten();
        let version = said.ok_or_else(|| problem(format!("{}: no version in it", answer.describe())))?;
        Ok(Some(version))
    }
}

/// The version that an answer says: the field "version" of JSON, else `expected` if the text holds it as a word,
/// else the first word.
fn version_in(body: &[u8], expected: &Version) -> Option<Version> {
    let text = String::from_utf8_lossy(body);
    if let Ok(serde_json::Value::Object(fields)) = serde_json::from_str(&text) {
        return match fields.get("version")? {
            serde_json::Value::String(version) => Version::new(version).ok(),
            serde_json::Value::Number(version) => Version::new(version.to_string()).ok(),
            _ => None,
        };
    }
    let mut words = text.split(|c: char| !(c.is_ascii_alphanumeric() || "._+-".contains(c)));
    match words.clone().find(|word| *word == expected.as_str()) {
        Some(_) => Some(expected.clone()),
        None => words.find(|word| !word.is_empty()).and_then(|word| Version::new(word).ok()),
    }
}

/// What the first address that is reached gives; else what each of them gave instead.
async fn first<T>(
    addresses: &[SocketAddr],
    try_one: impl AsyncFn(SocketAddr) -> Result<T, String>,
) -> Result<T, String> {
    let mut reasons = Vec::new();
    for address in addresses {
        match try_one(*address).await {
            Ok(found) => return Ok(found),
            Err(reason) => reasons.push(format!("{address}: {reason}")),
        }
    }
    Err(reasons.join("; "))
}

/// The sockets of a minder's tree, with a process and a descriptor for each.
fn owned_sockets(minder: u32) -> BTreeMap<u64, (u32, u32)> {
    let tree = below(minder).into_iter();
    tree.flat_map(|stat| sockets_of(stat.pid).into_iter().map(move |(inode, fd)| (inode, (stat.pid, fd))))
        .collect()
}

/// Who listens on `port`: those to whom connections to this machine's own addresses come, and the others.
fn local_listeners(port: u16) -> (Vec<Listener>, Vec<Listener>) {
    listening_on(port).into_iter().partition(is_local)
}

fn inodes(listeners: &[Listener]) -> BTreeSet<u64> {
    listeners.iter().map(|listener| listener.inode).collect()
}

/// Whether connections to this machine's own addresses come to `listener`.
fn is_local(listener: &Listener) -> bool {
    LOCAL.into_iter().any(|local| listener.takes(local))
}

fn nobody_listens(port: u16, elsewhere: bool, owned: &BTreeMap<u64, (u32, u32)>) -> String {
    if elsewhere {
        return format!("the app listens on port {port}, but neither on 127.0.0.1 nor on ::1");
    }
    match crate::proc::listeners().into_iter().find(|listener| owned.contains_key(&listener.inode)) {
        Some(other) => {
            let at = SocketAddr::new(other.address, other.port);
            format!("nothing listens on port {port}; the app listens on {at}: it must listen on $PORT")
        }
        None => format!("nothing listens on port {port} yet: the app must listen on $PORT"),
    }
}

fn not_running(state: State) -> Problem {
    match state.ended {
        Some(ended) => {
            let reason = format!("the app has ended: {}", ended.how);
            Problem { log: ended.log, ..Problem::new("process", reason) }
        }
        None => Problem::new("process", "the app's minder is gone, and with it the app: start it again"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_found_in_text_and_in_json() {
        let expected = Version::new("2.1").unwrap();
        let said = |body: &str| version_in(body.as_bytes(), &expected).map(String::from);
        for (body, version) in [
            ("2.1\n", Some("2.1")),
            ("shop 2.1 (build 7)", Some("2.1")),
            ("2.10", Some("2.10")),
            (r#"{"name":"shop","version":"2.0"}"#, Some("2.0")),
            (r#"{"version":7}"#, Some("7")),
            (r#"{"build":"2.1"}"#, None),
            ("", None),
            ("<>", None),
        ] {
            assert_eq!(said(body).as_deref(), version, "{body}");
        }
    }
}
