//! Agents among themselves: greetings, orders, watching, clocks, keys, and what is handed on to the coordinator.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{
    Addresses, Agent, DEADLINE, HandClock, NOW, Options, eventually, http, instance, key, raw, release,
    resolve,
};
use everup_core::ids::{DeploymentId, Fence, Rev, Term};
use everup_core::order::{Obeyed, Order, Task};
use everup_core::record::Say;
use everup_core::seams::{PeerError, Peers};
use everup_web::client::Failure;
use everup_web::peers::HttpPeers;
use everup_web::signing::{Key, sign_request};
use everup_web::wire::{Deploy, Words};
use std::sync::Arc;
use tokio::time::timeout;

fn peers_with(keys: Vec<Key>, clock: &HandClock, agents: &[&Agent]) -> HttpPeers {
    let addresses = Addresses::default();
    for agent in agents {
        addresses.lock().unwrap().insert(agent.id.clone(), agent.address.clone());
    }
    HttpPeers::new(http(keys, clock), resolve(&addresses))
}

fn peers(agents: &[&Agent]) -> HttpPeers {
    peers_with(vec![key("a")], &HandClock::at(NOW), agents)
}

fn order(to: &str, rev: u64) -> Order {
    Order {
        to: instance(to),
        holder: instance("i9"),
        fence: Fence { term: Term(3), rev: Rev(rev) },
        deployment: DeploymentId::new("d1").unwrap(),
        task: Task::Stage { release: release("2"), fallback: None },
    }
}

#[tokio::test]
async fn a_coordinators_messages_arrive_and_are_answered() {
    let agent = Agent::start("i1");
    let peers = peers(&[&agent]);
    let ack = peers.greet(&agent.id, Term(3), &instance("i9")).await.unwrap();
    assert_eq!((ack.obeyed, ack.view.fence), (Obeyed::Yes, Fence::greeting(Term(3))));
    let ack = peers.order(&order("i1", 2)).await.unwrap();
    assert_eq!(ack.view.fence.rev, Rev(2));
    peers.poke(&agent.id).await.unwrap();
    eventually(|| agent.told.lock().unwrap().pokes == 1).await;
    let told = agent.told.lock().unwrap();
    assert_eq!(told.greeted, [(Term(3), instance("i9"))]);
    assert_eq!(told.orders, [order("i1", 2)]);
}

#[tokio::test]
async fn watching_ends_with_news_or_after_a_while() {
    let agent = Agent::start("i1");
    let peers = peers(&[&agent]);
    assert_eq!(peers.watch(&agent.id, 0).await.unwrap().seq, 7);
    // Nothing newer comes; the present view does, long before a silent instance would count as out of service.
    assert_eq!(timeout(DEADLINE, peers.watch(&agent.id, 7)).await.unwrap().unwrap().seq, 7);
}

#[tokio::test]
async fn nobody_there_is_silence() {
    let agent = Agent::start("i1");
    let peers = peers(&[&agent]);
    assert!(
        matches!(peers.poke(&instance("i7")).await, Err(PeerError::Silent(_, why)) if why.contains("not known"))
    );
    agent.stop.send(true).unwrap();
    timeout(DEADLINE, agent.served).await.unwrap().unwrap().unwrap();
    assert!(matches!(peers.poke(&agent.id).await, Err(PeerError::Silent(id, _)) if id == agent.id));
}

#[tokio::test]
async fn a_clock_five_minutes_off_is_told_as_such_either_way() {
    let agent = Agent::start("i1");
    for at in [NOW - 300_000, NOW + 300_000] {
        let peers = peers_with(vec![key("a")], &HandClock::at(at), &[&agent]);
        let error = peers.greet(&agent.id, Term(3), &instance("i9")).await.unwrap_err();
        let PeerError::Clock(id, differs) = error else { panic!("{error}") };
        assert_eq!((id, differs.0), (instance("i1"), 300_000));
    }
    assert!(agent.told.lock().unwrap().greeted.is_empty());
}

#[tokio::test]
async fn another_key_is_a_refusal_that_says_so() {
    let agent = Agent::start("i1");
    for keys in [vec![key("b")], vec![Key::new("a", [7; 32])]] {
        let peers = peers_with(keys, &HandClock::at(NOW), &[&agent]);
        let error = peers.order(&order("i1", 2)).await.unwrap_err();
        let PeerError::Refused(_, why) = error else { panic!("{error}") };
        assert!(why.contains("not believed"), "{why}");
    }
    assert!(agent.told.lock().unwrap().orders.is_empty());
}

#[tokio::test]
async fn either_side_may_get_the_new_key_first() {
    let options = |keys| Options { keys, ..Options::default() };
    let (old, new) = (key("a"), key("b"));
    for (theirs, ours) in [
        (vec![old.clone(), new.clone()], vec![new.clone(), old.clone()]),
        (vec![new.clone(), old.clone()], vec![old.clone(), new.clone()]),
        (vec![new.clone(), old.clone()], vec![old.clone()]),
    ] {
        let agent = Agent::start_with("i1", options(theirs));
        peers_with(ours, &HandClock::at(NOW), &[&agent]).poke(&agent.id).await.unwrap();
    }
}

#[tokio::test]
async fn an_address_that_now_belongs_to_another_instance_obeys_nothing() {
    let agent = Agent::start("i2");
    let addresses = Addresses::default();
    addresses.lock().unwrap().insert(instance("i1"), agent.address.clone());
    let peers = HttpPeers::new(http(vec![key("a")], &HandClock::at(NOW)), resolve(&addresses));
    let error = peers.order(&order("i1", 2)).await.unwrap_err();
    let PeerError::Silent(_, why) = error else { panic!("{error}") };
    assert!(why.contains("the request is for i1, and this is i2"), "{why}");
    // Nor when the envelope is right and the letter is not.
    let client = agent.client();
    let letter = serde_json::to_string(&order("i1", 2)).unwrap();
    let failure = client.raw(http::Method::POST, "/v1/peer/order", letter).await.unwrap_err();
    assert!(matches!(failure, Failure::Silent { .. }), "{failure}");
    assert!(agent.told.lock().unwrap().orders.is_empty());
}

/// A request on the wire, byte for byte.
fn on_the_wire(agent: &Agent, body: &str, nonce: &str) -> String {
    let request = http::Request::post("/v1/deployments").header("host", &agent.address);
    let mut parts = request.body(()).unwrap().into_parts().0;
    let now = everup_core::time::Wall(NOW);
    sign_request(&mut parts, body.as_bytes(), agent.id.as_str(), &key("a"), now, nonce).unwrap();
    let mut text =
        "POST /v1/deployments HTTP/1.1\r\nconnection: close\r\ncontent-type: application/json\r\n".to_owned();
    for (name, value) in &parts.headers {
        text += &format!("{name}: {}\r\n", value.to_str().unwrap());
    }
    text + &format!("content-length: {}\r\n\r\n{body}", body.len())
}

#[tokio::test]
async fn a_captured_request_is_worth_nothing() {
    let (agent, other) = (Agent::start("i1"), Agent::start("i2"));
    let captured = on_the_wire(&agent, r#"{"version":"2","by":"ann"}"#, "n1");
    // Changed, it is refused, and does not use up the nonce of the real one.
    let changed = captured.replace(r#""2""#, r#""1""#);
    assert!(raw(&agent.address, &changed).await.contains(r#""error":"changed""#));
    assert!(raw(&agent.address, &captured).await.starts_with("HTTP/1.1 202 "));
    let again = raw(&agent.address, &captured).await;
    assert!(again.starts_with("HTTP/1.1 401 ") && again.contains(r#""error":"replayed""#), "{again}");
    assert!(again.contains("\r\nsignature: "));
    // To one who may have no key, nothing is signed.
    let strange = captured.replace("keyid=\"a\"", "keyid=\"z\"");
    let refused = raw(&agent.address, &strange).await;
    assert!(refused.contains(r#""error":"wrong-key""#) && !refused.contains("\r\nsignature: "), "{refused}");
    assert!(raw(&other.address, &captured).await.contains(r#""error":"not-for-me""#));
    assert_eq!(agent.told.lock().unwrap().deployed.len(), 1);
    assert!(other.told.lock().unwrap().deployed.is_empty());
}

#[tokio::test]
async fn a_large_request_is_refused_before_it_is_read_and_a_stranger_sends_none() {
    let agent = Agent::start("i1");
    let failure = agent.client().raw(http::Method::POST, "/v1/deployments", "x".repeat((1 << 20) + 1)).await;
    assert!(matches!(failure, Err(Failure::Refused { fault, .. }) if fault.error == "too-large"));
    let announced =
        "POST /v1/deployments HTTP/1.1\r\nhost: x\r\nconnection: close\r\ncontent-length: 1000000000\r\n\r\n";
    assert!(raw(&agent.address, announced).await.contains(r#""error":"unsigned""#));
}

/// Two agents that know of each other; `i1` coordinates.
fn pair() -> (Agent, Agent) {
    let addresses = Addresses::default();
    let options = || Options { addresses: addresses.clone(), ..Options::default() };
    let (first, second) = (Agent::start_with("i1", options()), Agent::start_with("i2", options()));
    let coordinator = first.id.clone();
    second.change(|status| status.coordinator = Some(coordinator));
    (first, second)
}

fn deploy() -> Deploy {
    Deploy {
        version: "2".parse().unwrap(),
        policy: None,
        by: "ann".into(),
        take_back: None,
        idempotency: Some("once".into()),
    }
}

#[tokio::test]
async fn what_the_coordinator_has_to_say_or_do_is_handed_on() {
    let (coordinator, other) = pair();
    let client = other.client();
    coordinator.change(|status| status.desired = 5);
    assert_eq!(client.status(None).await.unwrap().instance, coordinator.id);
    assert_eq!(client.fleet().await.unwrap().desired, 5);
    assert_eq!(client.deploy(&deploy()).await.unwrap().deployment.as_str(), "d1");
    let words = Words { say: Say::Abort, by: "ann".into(), id: None };
    client.say(None, &words).await.unwrap();
    let told = coordinator.told.lock().unwrap();
    assert_eq!(told.deployed[0].idempotency.as_deref(), Some("once"));
    assert_eq!(told.said[0].what, Say::Abort);
    let told = other.told.lock().unwrap();
    assert!(told.deployed.is_empty() && told.said.is_empty());
}

#[tokio::test]
async fn a_long_poll_and_events_follow_the_coordinator() {
    let (coordinator, other) = pair();
    let client = other.client();
    let mut events = client.events().await.unwrap();
    let first = timeout(DEADLINE, events.next()).await.unwrap().unwrap().unwrap();
    assert_eq!(first.instance, coordinator.id);
    coordinator.change(|status| status.desired = 5);
    assert_eq!(timeout(DEADLINE, events.next()).await.unwrap().unwrap().unwrap().desired, 5);
    let polled = client.status(Some((first.seq, &first.instance)));
    assert_eq!(timeout(DEADLINE, polled).await.unwrap().unwrap().desired, 5);
    // Another coordinator: the stream ends, and is opened again there.
    let me = other.id.clone();
    other.change(|status| status.coordinator = Some(me));
    assert_eq!(timeout(DEADLINE, events.next()).await.unwrap().unwrap(), None);
}

#[tokio::test]
async fn two_agents_that_each_think_the_other_coordinates_do_not_ask_for_ever() {
    let (first, second) = pair();
    let wrong = second.id.clone();
    first.change(|status| status.coordinator = Some(wrong));
    let status = timeout(DEADLINE, first.client().status(None)).await.unwrap().unwrap();
    assert_eq!(status.instance, second.id);
    timeout(DEADLINE, first.client().deploy(&deploy())).await.unwrap().unwrap();
    assert_eq!(second.told.lock().unwrap().deployed.len(), 1);
}

#[tokio::test]
async fn without_the_coordinator_this_agent_tells_what_it_knows_and_acts_itself() {
    let (coordinator, other) = pair();
    coordinator.stop.send(true).unwrap();
    timeout(DEADLINE, coordinator.served).await.unwrap().unwrap().unwrap();
    let client = other.client();
    let status = client.status(None).await.unwrap();
    assert_eq!(status.instance, other.id);
    assert!(status.trouble.unwrap().contains("the coordinator i1 does not answer"));
    let mut events = client.events().await.unwrap();
    let told = timeout(DEADLINE, events.next()).await.unwrap().unwrap().unwrap();
    assert!(told.instance == other.id && told.trouble.unwrap().contains("i1 does not answer"));
    let me = other.id.clone();
    other.change(|status| status.coordinator = Some(me));
    assert_eq!(timeout(DEADLINE, events.next()).await.unwrap().unwrap(), None);
    other.change(|status| status.coordinator = Some(instance("i1")));
    client.deploy(&deploy()).await.unwrap();
    assert_eq!(other.told.lock().unwrap().deployed.len(), 1);
}

/// A socket that takes connections and never answers: an agent that was stopped by a signal.
fn frozen(name: &str, addresses: &Addresses) -> std::net::TcpListener {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    addresses.lock().unwrap().insert(instance(name), listener.local_addr().unwrap().to_string());
    listener
}

#[tokio::test]
async fn a_coordinator_that_is_frozen_is_waited_for_only_until_another_takes_over() {
    let addresses = Addresses::default();
    let _frozen = frozen("i1", &addresses);
    let other = Agent::start_with("i2", Options { addresses, ..Options::default() });
    other.change(|status| status.coordinator = Some(instance("i1")));
    let client = other.client();
    let polled = client.status(Some((9, &other.id)));
    let request = deploy();
    let began = client.deploy(&request);
    let me = other.id.clone();
    let takeover = async {
        for _ in 0..50 {
            tokio::task::yield_now().await;
        }
        other.change(|status| status.coordinator = Some(me));
    };
    let ended = timeout(DEADLINE, async { tokio::join!(polled, began, takeover) });
    let (polled, began, ()) = ended.await.unwrap();
    assert_eq!(polled.unwrap().coordinator, Some(other.id.clone()));
    // Handed on before the takeover, nobody knows what became of it; after it, it is done here.
    match began {
        Ok(started) => assert_eq!(started.deployment.as_str(), "d1"),
        Err(Failure::Refused { fault, .. }) => assert_eq!(fault.error, "no-answer"),
        Err(other) => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_refusal_of_the_coordinator_comes_back_as_it_is() {
    let addresses = Addresses::default();
    let refuse: common::Answers = Arc::new(|| Some(everup_engine::mailbox::Refused::Not("no".into())));
    let coordinator =
        Agent::start_with("i1", Options { addresses: addresses.clone(), refuse, ..Options::default() });
    let other = Agent::start_with("i2", Options { addresses, ..Options::default() });
    let holder = coordinator.id.clone();
    other.change(|status| status.coordinator = Some(holder));
    let failure = other.client().deploy(&deploy()).await.unwrap_err();
    assert!(matches!(failure, Failure::Refused { fault, .. } if fault.error == "refused"));
    let unknown = Deploy { version: "2-rc".parse().unwrap(), ..deploy() };
    let failure = other.client().deploy(&unknown).await.unwrap_err();
    assert!(matches!(failure, Failure::Refused { fault, .. } if !fault.near.is_empty()));
}

#[tokio::test]
async fn an_agent_that_was_restarted_is_found_by_the_next_call() {
    let kept = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let start = || Agent::start_on(kept.try_clone().unwrap(), "i1", Options::default());
    let first = start();
    let peers = peers(&[&first]);
    peers.greet(&first.id, Term(1), &instance("i9")).await.unwrap();
    first.stop.send(true).unwrap();
    timeout(DEADLINE, first.served).await.unwrap().unwrap().unwrap();
    // Nobody accepts; the socket is kept, so the call waits in the kernel's queue instead of being refused.
    let holder = instance("i9");
    let greeted = peers.greet(&first.id, Term(2), &holder);
    let started = async { start() };
    let (greeted, second) = timeout(DEADLINE, async { tokio::join!(greeted, started) }).await.unwrap();
    assert_eq!(greeted.unwrap().obeyed, Obeyed::Yes);
    assert_eq!(second.told.lock().unwrap().greeted, [(Term(2), instance("i9"))]);
}
