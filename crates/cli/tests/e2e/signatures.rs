//! Requests that are not what they should be: refused, each with its own reason, and nothing changes.

use crate::harness::{Fleet, Program, Setup, Shop, until};
use everup_core::time::Wall;
use everup_web::client::Http;
use everup_web::clock::system;
use everup_web::keyring::Keyring;
use everup_web::signing::{Key, nonce, sign_request};
use everup_web::wire::Fault;
use http::request::Parts;
use http::{HeaderValue, Method, Request};
use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;

/// A request as it goes to an agent.
#[derive(Debug, Clone)]
struct Message {
    to: SocketAddr,
    parts: Parts,
    body: &'static str,
}

/// What an agent answers.
#[derive(Debug)]
struct Answer {
    status: u16,
    body: String,
}

impl Message {
    fn unsigned(to: SocketAddr, method: Method, target: &str, body: &'static str) -> Self {
        let request = Request::builder().method(method).uri(target).header("host", to.to_string());
        let request = request.header("content-type", "application/json");
        Self { to, parts: request.body(()).unwrap().into_parts().0, body }
    }

    /// Signed for `receiver` at `at`.
    fn signed(mut self, receiver: &str, key: &Key, at: Wall) -> Self {
        sign_request(&mut self.parts, self.body.as_bytes(), receiver, key, at, &nonce()).unwrap();
        self
    }

    /// Changed on its way.
    fn changed(&self, change: impl FnOnce(&mut Self)) -> Self {
        let mut changed = self.clone();
        change(&mut changed);
        changed
    }

    fn set(&mut self, name: &'static str, value: &str) {
        self.parts.headers.insert(name, HeaderValue::from_str(value).unwrap());
    }

    fn send(&self) -> Answer {
        let mut stream = TcpStream::connect(self.to).unwrap();
        let mut text = format!("{} {} HTTP/1.1\r\n", self.parts.method, self.parts.uri);
        for (name, value) in &self.parts.headers {
            text += &format!("{name}: {}\r\n", value.to_str().unwrap());
        }
        text += &format!("content-length: {}\r\nconnection: close\r\n\r\n{}", self.body.len(), self.body);
        stream.write_all(text.as_bytes()).unwrap();
        let mut answer = String::new();
        stream.read_to_string(&mut answer).unwrap();
        let (head, body) = answer.split_once("\r\n\r\n").unwrap();
        let status = head.split_whitespace().nth(1).unwrap().parse().unwrap();
        Answer { status, body: body.to_owned() }
    }
}

impl Answer {
    #[track_caller]
    fn fault(&self) -> Fault {
        serde_json::from_str(&self.body).unwrap_or_else(|error| panic!("{error}: {self:?}"))
    }
}

fn fleet(instances: u32) -> Fleet {
    Shop::serving(&Setup { instances, ..Setup::default() }, &Program::python(), &Program::python())
}

/// The fleet's keys, the newest first.
fn keys(fleet: &Fleet) -> Arc<[Key]> {
    Keyring::open(&fleet.state().join("keys.json")).unwrap().keys()
}

/// The agent of the first instance.
fn agent(fleet: &Fleet) -> SocketAddr {
    fleet.status().instances[0].address.parse().unwrap()
}

/// All that a request could have changed, once nothing changes any more.
fn written(fleet: &Fleet) -> (String, usize) {
    until("nobody to coordinate", || {
        fleet.head().filter(|head| head.current.is_none() && head.lease.is_none())
    });
    let head = String::from_utf8(fleet.object("local/head.json").unwrap()).unwrap();
    (head, fs::read_dir(fleet.state().join("store/local/deployments")).unwrap().count())
}

fn now() -> Wall {
    (system())()
}

/// So many seconds from now.
fn off_by(seconds: i64) -> Wall {
    Wall(now().0.checked_add_signed(seconds * 1_000).unwrap())
}

const DEPLOY: &str = r#"{"version": "2", "by": "a test"}"#;

#[test]
fn who_may_not_or_says_something_else_changes_nothing() {
    let fleet = fleet(1);
    let users = fleet.users();
    let (to, key) = (agent(&fleet), keys(&fleet)[0].clone());
    let before = written(&fleet);
    let unsigned = Message::unsigned(to, Method::POST, "/v1/deployments", DEPLOY);
    let upgrade = Message::unsigned(to, Method::POST, "/upgrade?version=2", "");
    let signed = |key: &Key, seconds| unsigned.clone().signed("local", key, off_by(seconds));
    let good = signed(&key, 0);
    let stranger = Key::new("a-stranger", [1; 32]);
    let impostor = Key::new(key.id.clone(), [1; 32]);
    for (what, message, status, error, words) in [
        ("none", unsigned.clone(), 401, "unsigned", "not signed"),
        ("six minutes old", signed(&key, -360), 401, "clock", "6 min behind"),
        ("six minutes ahead", signed(&key, 360), 401, "clock", "ahead of the clock here"),
        ("an unknown key", signed(&stranger, 0), 401, "wrong-key", "\"a-stranger\" is not known"),
        ("another secret", signed(&impostor, 0), 401, "wrong-key", "another secret"),
        ("another's instance", unsigned.clone().signed("i99", &key, now()), 421, "not-for-me", "is for i99"),
        ("the method", good.changed(|m| m.parts.method = Method::PUT), 401, "wrong-key", "changed"),
        (
            "the path",
            good.changed(|m| m.parts.uri = "/v1/peer/order".parse().unwrap()),
            401,
            "wrong-key",
            "changed",
        ),
        (
            "the query",
            upgrade
                .signed("local", &key, now())
                .changed(|m| m.parts.uri = "/upgrade?version=2&strategy=all-at-once".parse().unwrap()),
            401,
            "wrong-key",
            "changed",
        ),
        (
            "the body",
            good.changed(|m| m.body = r#"{"version": "1", "by": "a test"}"#),
            401,
            "changed",
            "body",
        ),
        ("the receiver", good.changed(|m| m.set("everup-to", "i1")), 401, "wrong-key", "changed"),
        ("the authority", good.changed(|m| m.set("host", "127.0.0.1:1")), 401, "wrong-key", "changed"),
        (
            "the digest",
            good.changed(|m| m.set("content-digest", "sha-256=:AAAA:")),
            401,
            "wrong-key",
            "changed",
        ),
        ("a mark", good.changed(|m| m.set("everup-forwarded", "i1")), 401, "malformed-signature", "cover"),
    ] {
        let answer = message.send();
        let fault = answer.fault();
        assert_eq!((answer.status, fault.error.as_str()), (status, error), "{what}: {answer:?}");
        assert!(fault.message.contains(words), "{what}: {}", fault.message);
        assert_eq!(written(&fleet), before, "{what}");
    }
    fleet.all_serve(1, "1");
    users.all_served();
    // What was refused was good but for that: as it was signed, it is taken.
    assert_eq!(good.send().status, 202);
}

/// The same signed request twice is one deployment, also when the agent has been killed in between.
#[test]
fn a_replayed_request_deploys_once() {
    let fleet = fleet(1);
    let users = fleet.users();
    let (to, key) = (agent(&fleet), keys(&fleet)[0].clone());
    let upgrade = Message::unsigned(to, Method::POST, "/upgrade?version=2", "").signed("local", &key, now());
    let answer = upgrade.send();
    assert_eq!(answer.status, 202, "{answer:?}");
    let started: everup_web::wire::Started = serde_json::from_str(&answer.body).unwrap();
    fleet.ended(started.deployment.as_str()).succeeded();
    let before = written(&fleet);
    let refused = |message: &Message| {
        let answer = message.send();
        assert_eq!((answer.status, answer.fault().error.as_str()), (401, "replayed"), "{answer:?}");
        assert_eq!(written(&fleet), before);
    };
    refused(&upgrade);
    let id = fleet.seats().into_keys().next().unwrap();
    let killed = fleet.agent(&id);
    fleet.kill_agent(&id);
    until("another agent", || (fleet.agent(&id) != killed).then_some(()));
    refused(&upgrade);
    users.all_served();
}

/// A new key signs, the one before still verifies: in the middle of a deployment nobody refuses anybody.
#[test]
fn keys_are_changed_during_a_deployment() {
    let fleet = fleet(3);
    let users = fleet.users();
    let old = keys(&fleet)[0].id.clone();
    for (version, done) in [("2", 1), ("1", 2)] {
        let running = fleet.begin(&[version]);
        running.done(done);
        fleet.everup(&["keys", "rotate"]).done();
        running.ended().succeeded();
    }
    users.all_served();
    fleet.all_serve(3, "1");
    let (to, now_valid) = (agent(&fleet), keys(&fleet));
    assert!(now_valid.len() == 2 && now_valid.iter().all(|key| key.id != old), "{now_valid:?}");
    assert_eq!(fleet.logged("a request was refused"), Vec::<String>::new());
    // The log would have it: this key has been valid, and is no longer.
    let stranger = Keyring::fixed([Key::new(old.clone(), [1; 32])]);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    let client = Http::new(Arc::new(stranger), system()).client(to.to_string(), "local");
    runtime.block_on(client.status(None)).unwrap_err();
    assert_eq!(fleet.logged(&format!("the key {old:?} is not known here")).len(), 1);
}
