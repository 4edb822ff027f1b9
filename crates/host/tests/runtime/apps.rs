//! Starting: one app a slot, in its release's folder, with its environment.

use crate::world::*;
use everup_core::instance::{Found, Slot};
use everup_core::seams::Runtime;
use everup_core::time::Millis;
use everup_host::health::{Ask, ask};
use everup_host::proc::listening_on;

#[tokio::test]
async fn an_app_is_started_checked_and_stopped() {
    let mut world = World::server();
    world.setup.app.env.insert("GREETING".to_owned(), "good day".to_owned());
    world.setup.app.env.insert("EVERUP_VERSION".to_owned(), "forged".to_owned());
    world.setup.health.version_path = Some("/version".to_owned());
    let runtime = world.runtime();
    let running = world.start_healthy(&runtime).await;
    let health = runtime.check(&running).await.unwrap();
    assert_eq!(health.version, Some(release("1").version));

    let question = Ask { path: "/environment", host: None, forwarded_proto: None };
    let environment =
        String::from_utf8(ask(running.upstream.address, &question).await.unwrap().body).unwrap();
    let port = format!("PORT={}", world.setup.ports[0]);
    let data = format!("EVERUP_DATA={}", world.data().display());
    for variable in [
        port.as_str(),
        "GREETING=good day",
        "EVERUP_VERSION=1",
        "EVERUP_INSTANCE=i-1",
        "EVERUP_ZONE=a",
        "EVERUP_ENVIRONMENT=test",
        data.as_str(),
    ] {
        assert!(environment.lines().any(|line| line == variable), "{variable} is not in\n{environment}");
    }

    let exit = soon(runtime.stop(&running, Millis::from_secs(20))).await;
    assert_eq!((exit.how.as_str(), exit.killed.len()), ("signal 15 (TERM)", 0), "{exit:?}");
    assert_eq!(exit.log, ["listening"]);
    assert_eq!(processes(&running), []);
    assert_eq!(listening_on(world.setup.ports[0]), []);
    let again = runtime.stop(&running, Millis::from_secs(20)).await;
    assert_eq!(again, exit, "a stop that is repeated tells the same");
}

#[tokio::test]
async fn a_start_that_is_repeated_starts_nothing_more() {
    let world = World::new("echo begun >> $EVERUP_DATA/starts; exec python3 app.py");
    let (runtime, id) = (world.runtime(), start_id());
    let first = soon(runtime.start(&release("1"), Slot::A, &id)).await.unwrap();
    healthy(&runtime, &first).await;
    let again = soon(world.runtime().start(&release("1"), Slot::A, &id)).await.unwrap();
    assert_eq!((again, world.read("starts").as_str()), (first.clone(), "begun\n"));
    runtime.stop(&first, Millis::from_secs(20)).await;
    let problem = runtime.start(&release("1"), Slot::A, &id).await.unwrap_err();
    assert!(problem.reason.contains("has ended: signal 15 (TERM)"), "{problem}");
}

#[tokio::test]
async fn two_releases_run_side_by_side_each_on_its_own_port() {
    let world = World::server();
    let runtime = world.runtime();
    let old = world.start_healthy(&runtime).await;
    assert_eq!(runtime.room_beside(&old).await, Ok(()));
    let new = soon(runtime.start(&world.unpack("2"), Slot::B, &start_id())).await.unwrap();
    healthy(&runtime, &new).await;
    healthy(&runtime, &old).await;
    assert_eq!((old.upstream.address.port(), new.upstream.address.port()), world.setup.ports.into());
    assert_eq!(runtime.adopt().await.apps, [old.clone(), new.clone()]);
    runtime.stop(&old, Millis::from_secs(20)).await;
    assert_eq!(runtime.adopt().await, Found { apps: vec![new.clone()] });
    healthy(&runtime, &new).await;
    runtime.stop(&new, Millis::from_secs(20)).await;
}

#[tokio::test]
async fn what_cannot_be_started_says_why() {
    let mut world = World::new("exec python3 app.py");
    world.setup.app.user = Some("no-such-user".to_owned());
    let problem = world.runtime().start(&release("1"), Slot::A, &start_id()).await.unwrap_err();
    assert!(problem.reason.contains("no user no-such-user"), "{problem}");
    world.setup.app.user = None;
    let problem = world.runtime().start(&release("9"), Slot::A, &start_id()).await.unwrap_err();
    assert!(problem.reason.contains("cannot be run in"), "{problem}");
    world.setup.app.command = None;
    let problem = world.runtime().start(&release("1"), Slot::A, &start_id()).await.unwrap_err();
    assert!(problem.reason.contains("set `command`"), "{problem}");
    world.setup.minder = vec!["/no/such/program".into()];
    world.setup.app.command = Some("true".to_owned());
    let problem = world.runtime().start(&release("1"), Slot::A, &start_id()).await.unwrap_err();
    assert!(problem.reason.contains("No such file"), "{problem}");
}

#[tokio::test]
async fn an_app_that_ends_at_once_is_told_with_its_last_lines() {
    let world = World::new("echo 'cannot read config.json' >&2; exit 3");
    let runtime = world.runtime();
    let running = world.start(&runtime).await;
    let exit = soon(runtime.exited(&running)).await;
    assert_eq!((exit.how.as_str(), exit.log), ("exit status 3", vec!["cannot read config.json".to_owned()]));
    let problem = runtime.check(&running).await.unwrap_err();
    assert_eq!(problem.reason, "the app has ended: exit status 3");
    assert_eq!(problem.log, ["cannot read config.json"]);
}

#[tokio::test]
async fn an_app_has_no_signals_blocked_and_no_descriptors_of_ours() {
    let world = World::new("grep SigBlk /proc/self/status; readlink /proc/$$/fd/*; exec sleep 600");
    let runtime = world.runtime();
    let running = world.start(&runtime).await;
    let log = world.setup.log_of(Slot::A);
    let text = until(|| std::fs::read_to_string(&log).ok().filter(|text| text.lines().count() >= 4)).await;
    assert!(text.starts_with("SigBlk:\t0000000000000000\n/dev/null\npipe:"), "{text}");
    let ours = world.setup.folder.display().to_string();
    assert!(!text.contains(&ours) && !text.contains("signalfd") && !text.contains("eventfd"), "{text}");
    runtime.stop(&running, Millis::ZERO).await;
}

#[tokio::test]
async fn an_app_can_run_as_another_user() {
    if !rustix::process::geteuid().is_root() {
        // Only root can start an app as another user.
        return;
    }
    let mut world = World::new("id -un; id -Gn; echo $HOME; touch $EVERUP_DATA/mine; exec sleep 600");
    world.setup.app.user = Some("nobody".to_owned());
    let runtime = world.runtime();
    world.open_to_all();
    let running = world.start(&runtime).await;
    let log = world.setup.log_of(Slot::A);
    let text = until(|| std::fs::read_to_string(&log).ok().filter(|text| text.lines().count() >= 3)).await;
    assert!(text.starts_with("nobody\nnogroup\n") || text.starts_with("nobody\nnobody\n"), "{text}");
    until(|| world.data().join("mine").exists().then_some(())).await;
    runtime.stop(&running, Millis::ZERO).await;
}
