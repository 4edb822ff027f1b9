//! The API over real sockets: each call of the client, and what the engine was told.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod common;

use common::{Agent, DEADLINE, NOW, Options, instance, raw, release};
use everup_core::deployment::State;
use everup_core::head::{Current, Request};
use everup_core::ids::DeploymentId;
use everup_core::policy::{Policy, Strategy};
use everup_core::receipt::Window;
use everup_core::record::Say;
use everup_core::time::Wall;
use everup_engine::mailbox::Refused;
use everup_web::client::Failure;
use everup_web::wire::{Deploy, Words};
use std::sync::Arc;
use tokio::time::timeout;

fn deploy(version: &str) -> Deploy {
    Deploy {
        version: version.parse().unwrap(),
        policy: None,
        by: "ann".into(),
        take_back: None,
        idempotency: None,
    }
}

fn refused(failure: Failure) -> everup_web::wire::Fault {
    match failure {
        Failure::Refused { fault, .. } => *fault,
        other => panic!("not refused: {other}"),
    }
}

#[tokio::test]
async fn what_an_instance_runs_and_what_there_is_are_told() {
    let agent = Agent::start("i1");
    let client = agent.client();
    let runs = client.version().await.unwrap();
    assert_eq!((runs.version, runs.in_service), (Some("1".parse().unwrap()), true));
    assert_eq!(client.status(None).await.unwrap(), common::status(&agent.id));
    assert_eq!(client.fleet().await.unwrap().desired, 2);
    let versions = client.versions().await.unwrap();
    assert_eq!(versions.iter().map(|line| line.running).collect::<Vec<_>>(), [0, 0, 0, 1]);
    let window = Window { from: Wall(1), to: Wall(2) };
    assert_eq!(client.probes(window).await.unwrap().seen, [window]);
    let metrics = client.metrics().await.unwrap();
    assert!(metrics.contains("\neverup_instances_on_version{version=\"1\"} 1\n"), "{metrics}");
}

#[tokio::test]
async fn a_deployment_reaches_the_engine_with_the_agents_policy() {
    let agent = Agent::start("i1");
    let started = agent.client().deploy(&deploy("2")).await.unwrap();
    assert_eq!((started.deployment.as_str(), &started.to), ("d1", &release("2")));
    let told = agent.told.lock().unwrap();
    let request = &told.deployed[0];
    assert_eq!((&request.to, request.by.as_str(), request.at), (&release("2"), "ann", Wall(NOW)));
    assert!(request.policy == Policy::default() && request.idempotency.is_some());
}

#[tokio::test]
async fn an_unknown_version_is_refused_with_the_near_ones() {
    let agent = Agent::start("i1");
    let fault = refused(agent.client().deploy(&deploy("2-rc")).await.unwrap_err());
    assert_eq!(fault.error, "unknown-version");
    assert_eq!(fault.near.first().unwrap().as_str(), "2-rc1");
    assert!(fault.hint.unwrap().starts_with("did you mean 2-rc1"));
    assert!(agent.told.lock().unwrap().deployed.is_empty());
}

#[tokio::test]
async fn a_release_that_nobody_can_start_is_refused() {
    let agent = Agent::start("i1");
    let fault = refused(agent.client().deploy(&deploy("1")).await.unwrap_err());
    assert_eq!(fault.error, "no-start");
    assert!(fault.hint.unwrap().contains("`command` of [app]"));
    assert!(agent.told.lock().unwrap().deployed.is_empty());
}

#[tokio::test]
async fn a_second_deployment_is_told_who_runs_the_first() {
    let current = Box::new(Current {
        id: DeploymentId::new("d7").unwrap(),
        request: Request {
            to: release("2"),
            policy: Policy::default(),
            by: "bob".into(),
            at: Wall(NOW),
            from: None,
            migration: None,
            applied_before: None,
            take_back: None,
            idempotency: None,
        },
    });
    let busy = Refused::Busy { current: current.clone(), phase: State::Rolling };
    let refuse: common::Answers = Arc::new(move || Some(busy.clone()));
    let agent = Agent::start_with("i1", Options { refuse, ..Options::default() });
    let fault = refused(agent.client().deploy(&deploy("2")).await.unwrap_err());
    assert_eq!(fault.error, "busy");
    assert_eq!((fault.current, fault.phase), (Some(current), Some(State::Rolling)));
}

#[tokio::test]
async fn words_reach_the_engine() {
    let agent = Agent::start("i1");
    let words = Words { say: Say::Pause, by: "ann".into(), id: None };
    let word = agent.client().say(None, &words).await.unwrap();
    assert_eq!((word.what, word.by.as_str()), (Say::Pause, "ann"));
    let id = DeploymentId::new("d9").unwrap();
    assert_eq!(agent.client().say(Some(&id), &words).await.unwrap().deployment, id);
    assert_eq!(agent.told.lock().unwrap().said.len(), 2);
}

#[tokio::test]
async fn a_long_poll_ends_with_the_next_status() {
    let agent = Agent::start("i1");
    let client = agent.client();
    let polled = client.status(Some((1, &agent.id)));
    let changed = async {
        // The poll must be inside before the change, or it would not have been long; either way it has to end.
        tokio::task::yield_now().await;
        agent.change(|status| status.desired = 3);
    };
    let (polled, ()) = timeout(DEADLINE, async { tokio::join!(polled, changed) }).await.unwrap();
    assert_eq!((polled.unwrap().desired, agent.status.borrow().seq), (3, 2));
    // A number of another agent is no number of this one's.
    let other = instance("i9");
    assert_eq!(timeout(DEADLINE, client.status(Some((2, &other)))).await.unwrap().unwrap().seq, 2);
}

#[tokio::test]
async fn events_tell_each_change_and_end_with_the_agent() {
    let agent = Agent::start("i1");
    let mut events = agent.client().events().await.unwrap();
    let next = async |events: &mut everup_web::client::Follow| {
        timeout(DEADLINE, events.next()).await.expect("an event").unwrap()
    };
    assert_eq!(next(&mut events).await.unwrap().seq, 1);
    for desired in 3..10 {
        agent.change(|status| status.desired = desired);
        assert_eq!(next(&mut events).await.unwrap().desired, desired);
    }
    agent.stop.send(true).unwrap();
    assert_eq!(next(&mut events).await, None);
    timeout(DEADLINE, agent.served).await.expect("the server ends").unwrap().unwrap();
}

#[tokio::test]
async fn ending_the_agent_ends_a_long_poll_with_an_answer() {
    let agent = Agent::start("i1");
    let client = agent.client();
    client.version().await.unwrap();
    let polled = client.status(Some((1, &agent.id)));
    let ended = async { agent.stop.send(true) };
    let (polled, _) = timeout(DEADLINE, async { tokio::join!(polled, ended) }).await.unwrap();
    // Inside, it is answered with what there is; not yet inside, it finds the connection closed.
    assert!(matches!(polled, Ok(_) | Err(Failure::NotSent { .. } | Failure::Silent { .. })), "{polled:?}");
}

#[tokio::test]
async fn upgrade_takes_a_version_and_a_strategy() {
    let agent = Agent::start("i1");
    let client = agent.client();
    client.upgrade(&"2".parse().unwrap(), Some(Strategy::AllAtOnce)).await.unwrap();
    assert_eq!(agent.told.lock().unwrap().deployed[0].policy.strategy, Strategy::AllAtOnce);
}

#[tokio::test]
async fn health_needs_no_signature_and_all_else_does() {
    let agent = Agent::start("i1");
    let get = |path: &str| format!("GET {path} HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n");
    assert!(raw(&agent.address, &get("/healthz")).await.starts_with("HTTP/1.1 200 OK\r\n"));
    for path in ["/", "/version", "/v1/status", "/v1/events", "/metrics", "/nothing", "/healthz/"] {
        let answer = raw(&agent.address, &get(path)).await;
        assert!(answer.starts_with("HTTP/1.1 401 "), "{path}: {answer}");
        assert!(answer.contains(r#""error":"unsigned""#), "{answer}");
    }
}

#[tokio::test]
async fn bad_input_is_told_as_such() {
    let agent = Agent::start("i1");
    let client = agent.client();
    for (method, target, body, error) in [
        ("GET", "/v1/status?since=x", "", "bad-input"),
        ("GET", "/v1/nothing", "", "no-such-path"),
        ("DELETE", "/v1/status", "", "no-such-method"),
        ("POST", "/v1/deployments", "{\"version\": 2}", "bad-input"),
        ("POST", "/v1/deployments", "{\"version\": \"../2\", \"by\": \"x\"}", "bad-input"),
        ("POST", "/v1/deployments", "{\"version\": \"2\", \"by\": \"x\", \"policies\": {}}", "bad-input"),
        ("POST", "/upgrade?version=2&strategy=both", "", "bad-input"),
        ("GET", "/v1/deployments/d5", "", "unknown-deployment"),
        ("GET", "/v1/deployments/current", "", "unknown-deployment"),
    ] {
        let fault = refused(client.raw(method.parse().unwrap(), target, body.to_owned()).await.unwrap_err());
        assert_eq!(fault.error, error, "{target}: {}", fault.message);
    }
    assert!(agent.told.lock().unwrap().deployed.is_empty());
}
