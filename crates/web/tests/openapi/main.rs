//! The API's description, held against the routes, against real answers, and against what bodies are read.
#![expect(clippy::unwrap_used, reason = "a test fails by panicking")]

mod ask;
#[path = "../common/mod.rs"]
mod common;
mod document;
mod filled;

use ask::{Answered, ask, ask_at, ask_unsigned};
use common::{Agent, NOW, Options, instance, release};
use document::Document;
use everup_core::deployment::State;
use everup_core::head::TakeBack;
use everup_core::ids::{DeploymentId, Fence, Term, WriteId};
use everup_core::instance::Phase;
use everup_core::order::{Order, Task};
use everup_core::policy::Strategy;
use everup_core::receipt::{SchemaOutcome, Verdict};
use everup_core::record::{Progress, Say};
use everup_core::release::OnFailure;
use everup_engine::mailbox::Refused;
use everup_web::server::routes;
use everup_web::wire::{Deploy, Greeting, Words};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::sync::Arc;

const NOTHING: Vec<String> = Vec::new();

/// An agent that has seen everything that a status and a record can hold.
fn experienced() -> Agent {
    experienced_with(Options::default())
}

fn experienced_with(options: Options) -> Agent {
    let agent = Agent::start_with("i1", Options { records: vec![filled::record()], ..options });
    agent.change(|status| {
        (status.head, status.record) = (Some(filled::head()), Some(filled::record()));
        status.trouble = Some("the store does not answer".into());
        status.instances[0].waiting = Some("its turn".into());
        status.instances[0].problem = Some(filled::problem());
    });
    agent
}

fn deploy() -> Deploy {
    Deploy {
        version: release("2").version,
        policy: Some(filled::policy()),
        by: "ann".into(),
        take_back: Some(TakeBack::Undo),
        idempotency: Some("ci-7".into()),
    }
}

fn words() -> Words {
    Words { say: Say::Pause, by: "ann".into(), id: Some(WriteId::new("w1").unwrap()) }
}

fn greeting() -> Greeting {
    Greeting { term: Term(3), holder: instance("i9") }
}

fn order() -> Order {
    Order {
        to: instance("i1"),
        holder: instance("i9"),
        fence: Fence::greeting(Term(3)),
        deployment: DeploymentId::new("d1").unwrap(),
        task: Task::TakeBack,
    }
}

fn text(body: &impl Serialize) -> String {
    serde_json::to_string(body).unwrap()
}

#[test]
fn the_document_is_of_this_version() {
    let document = Document::read().0;
    assert!(document["openapi"].as_str().unwrap().starts_with("3.1."), "{}", document["openapi"]);
    assert_eq!(document["info"]["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn it_names_every_route_and_no_other() {
    let documented: BTreeSet<_> =
        Document::read().operations().into_iter().map(|one| (one.path, one.method, one.signed)).collect();
    let served: BTreeSet<_> = routes()
        .into_iter()
        .map(|route| (route.path.to_owned(), route.method.to_string(), route.signed))
        .collect();
    assert_eq!(documented, served);
}

#[tokio::test]
async fn every_path_is_answered_to_whom_it_says() {
    let (agent, document) = (experienced(), Document::read());
    for one in document.operations() {
        let target = one.path.replace("{id}", "current");
        let answer = ask(&agent, &one.method, &target, "").await;
        assert!(![404, 405].contains(&answer.status), "{} {target}: {answer:?}", one.method);
        assert_eq!(document.problems_of(&one.method, &one.path, &answer), NOTHING);
        let answer = ask_unsigned(&agent, &one.method, &target).await;
        assert_eq!(answer.status == 401, one.signed, "{} {target}: {answer:?}", one.method);
        assert_eq!(document.problems_of(&one.method, &one.path, &answer), NOTHING);
    }
}

#[tokio::test]
async fn answers_hold_what_it_says() {
    let (agent, document) = (experienced(), Document::read());
    for (method, path, target, body, status) in [
        ("GET", "/version", "/version", String::new(), 200),
        ("POST", "/upgrade", "/upgrade?version=2&strategy=rolling", String::new(), 202),
        ("GET", "/v1/status", "/v1/status", String::new(), 200),
        ("GET", "/v1/fleet", "/v1/fleet", String::new(), 200),
        ("GET", "/v1/versions", "/v1/versions", String::new(), 200),
        ("GET", "/v1/deployments", "/v1/deployments", String::new(), 200),
        ("POST", "/v1/deployments", "/v1/deployments", text(&deploy()), 202),
        ("GET", "/v1/deployments/{id}", "/v1/deployments/d7", String::new(), 200),
        ("POST", "/v1/deployments/{id}/words", "/v1/deployments/d7/words", text(&words()), 200),
        ("GET", "/v1/probes", "/v1/probes?from=1&to=2", String::new(), 200),
        ("POST", "/v1/peer/greet", "/v1/peer/greet", text(&greeting()), 200),
        ("POST", "/v1/peer/order", "/v1/peer/order", text(&order()), 200),
        ("GET", "/v1/peer/watch", "/v1/peer/watch?since=1", String::new(), 200),
        ("POST", "/v1/peer/poke", "/v1/peer/poke", String::new(), 204),
    ] {
        let answer = ask(&agent, method, target, &body).await;
        assert_eq!(answer.status, status, "{method} {target}: {answer:?}");
        assert_eq!(document.problems_of(method, path, &answer), NOTHING);
    }
}

#[tokio::test]
async fn events_hold_what_it_says() {
    let (agent, document) = (experienced(), Document::read());
    let answer = ask(&agent, "GET", "/v1/events", "").await;
    let event = std::str::from_utf8(&answer.body).unwrap();
    let data = event.lines().find_map(|line| line.strip_prefix("data: ")).unwrap();
    let status = serde_json::from_str(data).unwrap();
    assert_eq!(document.problems(document.schema("Status"), &status, "data"), NOTHING);
}

fn assert_is_a_documented_fault(method: &str, path: &str, answer: &Answered, kind: &str) {
    let document = Document::read();
    assert_eq!(document.problems_of(method, path, answer), NOTHING);
    let fault: Value = serde_json::from_slice(&answer.body).unwrap();
    assert_eq!(fault["error"], kind, "{method} {path}: {fault}");
    let described = document.description_of(method, path, answer.status);
    assert!(described.contains(&format!("`{kind}`")), "{method} {path} {}: {described}", answer.status);
}

#[tokio::test]
async fn faults_hold_what_it_says() {
    let agent = experienced();
    let (one, all, say) = ("/v1/deployments/{id}", "/v1/deployments", "/v1/deployments/{id}/words");
    for (method, path, target, body, kind) in [
        ("GET", "/v1/status", "/v1/status?since=x", "", "bad-input"),
        ("GET", one, "/v1/deployments/-", "", "bad-input"),
        ("GET", one, "/v1/deployments/d5", "", "unknown-deployment"),
        ("POST", all, all, "", "bad-input"),
        ("POST", all, all, "{", "bad-input"),
        ("POST", all, all, "{}", "bad-input"),
        ("POST", all, all, r#"{"version": "2-rc", "by": "ann"}"#, "unknown-version"),
        ("POST", all, all, r#"{"version": "1", "by": "ann"}"#, "no-start"),
        ("POST", "/upgrade", "/upgrade?version=3", "", "unknown-version"),
        ("POST", say, "/v1/deployments/d7/words", "{}", "bad-input"),
    ] {
        let answer = ask(&agent, method, target, body).await;
        assert_is_a_documented_fault(method, path, &answer, kind);
    }
    let answer = ask_at(&agent, NOW - 300_000, "GET", "/version", "").await;
    assert_is_a_documented_fault("GET", "/version", &answer, "clock");
    let answer = ask_unsigned(&agent, "GET", "/version").await;
    assert_is_a_documented_fault("GET", "/version", &answer, "unsigned");
}

#[tokio::test]
async fn what_the_engine_refuses_is_told_as_it_says() {
    let busy = Refused::Busy { current: Box::new(filled::current()), phase: State::Rolling };
    for (refused, kind) in [
        (busy, "busy"),
        (Refused::NothingRuns, "nothing-runs"),
        (Refused::Ending, "ending"),
        (Refused::Not("not now".into()), "refused"),
        (Refused::Store("it is away".into()), "store"),
    ] {
        let refuse: common::Answers = Arc::new(move || Some(refused.clone()));
        let agent = experienced_with(Options { refuse, ..Options::default() });
        for (path, body) in
            [("/v1/deployments", text(&deploy())), ("/v1/deployments/{id}/words", text(&words()))]
        {
            let answer = ask(&agent, "POST", &path.replace("{id}", "d7"), &body).await;
            assert_is_a_documented_fault("POST", path, &answer, kind);
        }
    }
}

/// Fails unless `T` can be read without a field exactly where the schema `name` does not require it, and `full`, in
/// which all fields are, is allowed.
fn assert_reads<T: Serialize + DeserializeOwned>(name: &str, full: &T) {
    let document = Document::read();
    let (schema, full) = (document.schema(name), serde_json::to_value(full).unwrap());
    assert_eq!(document.problems(schema, &full, name), NOTHING);
    for field in schema["properties"].as_object().unwrap().keys() {
        let mut without = full.clone();
        without.as_object_mut().unwrap().remove(field).unwrap_or_else(|| panic!("{name} has no {field}"));
        let is_required = schema["required"].as_array().unwrap().contains(&json!(field));
        assert_eq!(serde_json::from_value::<T>(without).is_err(), is_required, "{name} without {field}");
    }
}

#[test]
fn bodies_are_read_as_it_says() {
    assert_reads("Deploy", &deploy());
    assert_reads("Policy", &filled::policy());
    assert_reads("Words", &words());
    assert_reads("Greeting", &greeting());
    assert_reads("Order", &order());
}

/// The names that a unit variant of `T` may have, out of the refusal of another.
fn variants<T: DeserializeOwned>() -> BTreeSet<String> {
    let refusal = serde_json::from_str::<T>("\"?\"").err().unwrap().to_string();
    refusal.split('`').skip(3).step_by(2).map(str::to_owned).collect()
}

#[test]
fn it_names_each_value_of_an_enumeration() {
    let document = Document::read();
    let on_failure = &document.schema("Migration")["properties"]["on_failure"];
    for (schema, known) in [
        (document.schema("State"), variants::<State>()),
        (document.schema("Phase"), variants::<Phase>()),
        (document.schema("Progress"), variants::<Progress>()),
        (document.schema("Say"), variants::<Say>()),
        (document.schema("Strategy"), variants::<Strategy>()),
        (document.schema("TakeBack"), variants::<TakeBack>()),
        (document.schema("Verdict"), variants::<Verdict>()),
        (document.schema("SchemaOutcome"), variants::<SchemaOutcome>()),
        (on_failure, variants::<OnFailure>()),
    ] {
        let named = schema["enum"].as_array().unwrap().iter().map(|value| value.as_str().unwrap().to_owned());
        assert_eq!(named.collect::<BTreeSet<_>>(), known);
    }
}

#[test]
fn a_field_that_is_not_named_and_one_that_is_missing_are_found() {
    let document = Document::read();
    let record = serde_json::to_value(filled::record()).unwrap();
    let problems = |change: &dyn Fn(&mut Value)| {
        let mut changed = record.clone();
        change(&mut changed);
        document.problems(document.schema("Record"), &changed, "record")
    };
    assert_eq!(problems(&|_| {}), NOTHING);
    let more = problems(&|record| record["receipt"]["requests"]["lost"] = json!(1));
    assert_eq!(more, ["record > receipt > requests > lost is not named"]);
    let less =
        problems(&|record| drop(record["instances"]["i1"].as_object_mut().unwrap().remove("progress")));
    assert_eq!(less, ["record > instances > i1 has no progress"]);
    let other = problems(&|record| record["receipt"]["phases"][1][0] = json!("resting"));
    assert_eq!(other, [r#"record > receipt > phases > 1 > 0 is "resting""#]);
}
