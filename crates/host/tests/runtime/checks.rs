//! Checks: what counts as healthy, and what a person reads when it is not.

use crate::world::*;
use everup_core::instance::Slot;
use everup_core::seams::Runtime;
use everup_core::time::Millis;
use everup_host::settings::Check;
use rustix::process::Signal;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener};
use std::process::{Child, Command, Stdio};

/// A process that is none of ours; ended with the test.
struct Stranger(Child);

impl Stranger {
    fn end(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

impl Drop for Stranger {
    fn drop(&mut self) {
        self.end();
    }
}

#[tokio::test]
async fn an_app_is_reached_wherever_it_listens() {
    for bind in ["127.0.0.1", "0.0.0.0", "::"] {
        let mut world = World::server();
        world.setup.app.env.insert("BIND".to_owned(), bind.to_owned());
        world.setup.app.env.insert("HTTP_PROXY".to_owned(), "http://127.0.0.1:1".to_owned());
        let runtime = world.runtime();
        let running = world.start_healthy(&runtime).await;
        runtime.stop(&running, Millis::ZERO).await;
    }
}

#[tokio::test]
async fn where_an_app_listens_is_where_requests_go() {
    for (bind, address) in
        [("::1", IpAddr::V6(Ipv6Addr::LOCALHOST)), ("127.0.0.1", Ipv4Addr::LOCALHOST.into())]
    {
        let mut world = World::server();
        world.setup.app.env.insert("BIND".to_owned(), bind.to_owned());
        let runtime = world.runtime();
        let running = world.start_healthy(&runtime).await;
        let reached = SocketAddr::new(address, world.setup.ports[0]);
        assert_eq!(runtime.check(&running).await.unwrap().address, Some(reached));
        assert_eq!(runtime.adopt().await.apps[0].upstream.address, reached);
        runtime.stop(&running, Millis::ZERO).await;
    }
}

#[tokio::test]
async fn a_port_that_a_stranger_has_is_named_with_its_owner() {
    let world = World::server();
    let runtime = world.runtime();
    let strangers = world.setup.ports.map(|port| TcpListener::bind((Ipv4Addr::LOCALHOST, port)).unwrap());
    let problem = runtime.start(&release("1"), Slot::A, &start_id()).await.unwrap_err();
    let owner = format!("port {}, the app's own, is listened on by", world.setup.ports[0]);
    let pid = format!("(pid {})", std::process::id());
    assert!(problem.reason.contains(&owner) && problem.reason.contains(&pid), "{problem}");
    // One port is enough, as long as nothing else of ours runs there.
    let [first, second] = strangers;
    drop(second);
    let id = start_id();
    let running = runtime.start(&release("1"), Slot::A, &id).await.unwrap();
    assert_eq!(running.slot, Slot::B);
    assert_eq!(runtime.start(&release("1"), Slot::A, &id).await.unwrap(), running, "asked again");
    let beside = runtime.start(&release("2"), Slot::A, &start_id()).await.unwrap_err();
    assert!(beside.reason.contains(&owner), "{beside}");
    drop(first);
    runtime.stop(&running, Millis::ZERO).await;
}

#[tokio::test]
async fn a_stranger_that_shares_the_port_is_named_though_the_app_answers() {
    let mut world = World::server();
    world.setup.app.env.insert("SHARE".to_owned(), "yes".to_owned());
    let runtime = world.runtime();
    let running = world.start_healthy(&runtime).await;
    let stranger = Command::new("python3")
        .arg(world.release_folder().join("app.py"))
        .env("SHARE", "yes")
        .env("PORT", world.setup.ports[0].to_string())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut stranger = Stranger(stranger);
    // Although it was proven before that the port is the app's.
    let problem = async {
        loop {
            if let Err(problem) = runtime.check(&running).await {
                return problem;
            }
            tokio::task::yield_now().await;
        }
    };
    let problem = soon(problem).await;
    let wanted =
        format!("port {} is listened on by `python3` (pid {})", world.setup.ports[0], stranger.0.id());
    assert!(problem.reason.contains(&wanted), "{problem}");
    assert!(world.runtime().check(&running).await.is_err(), "a new agent sees it as well");
    stranger.end();
    healthy(&runtime, &running).await;
    runtime.stop(&running, Millis::ZERO).await;
}

#[tokio::test]
async fn a_release_that_takes_another_port_than_its_own_is_told_which() {
    let mut world = World::server();
    world.setup.app.env.insert("LISTEN".to_owned(), world.setup.ports[1].to_string());
    let runtime = world.runtime();
    let running = world.start(&runtime).await;
    let problem = fails_with(&runtime, &running, "the other release's").await;
    assert!(problem.reason.contains(&format!("port {}", world.setup.ports[1])), "{problem}");
    runtime.stop(&running, Millis::ZERO).await;
}

#[tokio::test]
async fn a_redirect_and_an_unknown_host_are_told_as_they_came() {
    let mut world = World::server();
    let running = world.start_healthy(&world.runtime()).await;
    for (path, wanted) in [
        ("/redirect", "status 301, Location: https://shop.example/redirect, body: moved"),
        ("/host", "status 400, body: unknown host 127.0.0.1"),
    ] {
        world.setup.health.check = http(path);
        let problem = world.runtime().check(&running).await.unwrap_err();
        assert_eq!(problem.check, format!("health check GET {path}"));
        assert!(problem.reason.starts_with(wanted), "{problem}");
        assert_eq!(problem.log, ["listening"], "the app's last lines, without colours");
        world.setup.health.check = Check::Http {
            path: path.to_owned(),
            host: Some("shop.example".to_owned()),
            forwarded_proto: Some("https".to_owned()),
        };
        world.runtime().check(&running).await.unwrap();
    }
    world.setup.health.check = http("/long");
    let problem = world.runtime().check(&running).await.unwrap_err();
    assert_eq!(problem.reason, format!("status 500, body: {}", "x".repeat(200)));
    world.runtime().stop(&running, Millis::ZERO).await;
}

#[tokio::test]
async fn a_check_by_connection_or_by_command() {
    let mut world = World::server();
    world.setup.health.check = Check::Tcp;
    let running = world.start_healthy(&world.runtime()).await;
    world.setup.health.check = Check::Command("test $PORT -gt 0 && test -f app.py".to_owned());
    world.runtime().check(&running).await.unwrap();
    world.setup.health.check = Check::Command("echo no database >&2; exit 5".to_owned());
    let problem = world.runtime().check(&running).await.unwrap_err();
    assert_eq!((problem.reason.as_str(), problem.log), ("exit status: 5", vec!["no database".to_owned()]));
    world.runtime().stop(&running, Millis::ZERO).await;
}

#[tokio::test]
async fn a_check_that_hangs_ends_at_its_deadline_and_a_dropped_one_with_all_that_it_started() {
    let mut world = World::server();
    let running = world.start_healthy(&world.runtime()).await;
    world.setup.health.check = Check::Command("sleep 600".to_owned());
    world.setup.health.deadline = Millis(100);
    let problem = world.runtime().check(&running).await.unwrap_err();
    assert_eq!(problem.reason, "no answer within 100 ms");

    let command = "sleep 600 & echo $! > $EVERUP_DATA/sleeper; wait";
    world.setup.health.check = Check::Command(command.to_owned());
    world.setup.health.deadline = Millis::from_secs(600);
    let runtime = world.runtime();
    let sleeper = tokio::select! {
        _ = runtime.check(&running) => panic!("it hangs"),
        text = world.written("sleeper") => text.trim().parse().unwrap(),
    };
    until(|| everup_host::proc::Identity::of(sleeper).is_none().then_some(())).await;
    world.runtime().stop(&running, Millis::ZERO).await;
}

/// A check may be quicker than the minder's word. That the app ended says more than that nothing listens any more.
#[tokio::test]
async fn an_app_that_has_just_ended_is_named_by_its_end() {
    let world = World::server();
    let runtime = world.runtime();
    let running = world.start_healthy(&runtime).await;
    let minder = world.minder();
    minder.signal(Signal::STOP);
    let app = world.child();
    app.signal(Signal::KILL);
    until(|| (!app.lives()).then_some(())).await;
    let (checked, ()) = tokio::join!(runtime.check(&running), async {
        minder.signal(Signal::CONT);
    });
    let problem = checked.unwrap_err();
    assert_eq!(
        (problem.check.as_str(), problem.reason.as_str()),
        ("process", "the app has ended: signal 9 (KILL)")
    );
}

#[tokio::test]
async fn an_app_that_does_not_listen_yet_is_told_so() {
    let world = World::new("exec sleep 600");
    let runtime = world.runtime();
    let running = world.start(&runtime).await;
    let problem = runtime.check(&running).await.unwrap_err();
    let wanted = format!("nothing listens on port {} yet", world.setup.ports[0]);
    assert!(problem.check == "port" && problem.reason.contains(&wanted), "{problem}");
    runtime.stop(&running, Millis::ZERO).await;
}
