//! Agents come and go; apps stay, and strangers are left alone.

use crate::world::*;
use everup_core::ids::StartId;
use everup_core::instance::{Found, Slot};
use everup_core::seams::Runtime;
use everup_core::time::Millis;
use everup_host::minder::State;
use everup_host::proc::Identity;
use everup_host::runtime::ProcessRuntime;
use futures_util::FutureExt;
use rustix::fs::{FlockOperation, flock};
use rustix::process::Signal;
use std::fs::File;
use std::path::{Path, PathBuf};
use std::pin::pin;
use std::process::{Command, Stdio};

#[tokio::test]
async fn a_new_agent_finds_the_app_and_sees_how_it_ends() {
    let world = World::new("python3 app.py & echo $! > $EVERUP_DATA/server; wait; echo 'the end'; exit 4");
    let running = world.start_healthy(&world.runtime()).await;
    let runtime = world.runtime();
    assert_eq!(runtime.adopt().await, Found { apps: vec![running.clone()] });
    healthy(&runtime, &running).await;
    let server = Identity::of(world.read("server").trim().parse().unwrap()).unwrap();
    server.signal(Signal::KILL);
    let exit = soon(runtime.exited(&running)).await;
    assert_eq!((exit.how.as_str(), exit.log.last().unwrap().as_str()), ("exit status 4", "the end"));
    assert_eq!(runtime.adopt().await, Found::default());
}

#[tokio::test]
async fn an_app_whose_minder_is_killed_is_one_failure_and_can_be_started_again() {
    let world = World::new("setsid sh -c 'exec python3 app.py' & wait");
    let runtime = world.runtime();
    let running = world.start_healthy(&runtime).await;
    world.minder().signal(Signal::KILL);
    let exit = soon(runtime.exited(&running)).await;
    assert_eq!(exit.how, "its minder was killed");
    assert!(exit.killed.iter().any(|name| name.contains("python3")), "{exit:?}");
    assert_eq!((processes(&running), runtime.adopt().await), (vec![], Found::default()));
    assert_eq!(soon(runtime.exited(&running)).await, exit, "told once, and the same again");
    let again = world.start_healthy(&runtime).await;
    runtime.stop(&again, Millis::from_secs(20)).await;
}

#[tokio::test]
async fn what_lost_its_minder_while_no_agent_ran_is_ended_by_the_next_one() {
    let world = World::server();
    let running = world.start_healthy(&world.runtime()).await;
    let minder = world.minder();
    minder.signal(Signal::KILL);
    until(|| (!minder.lives()).then_some(())).await;
    let runtime = world.runtime();
    assert_eq!(soon(runtime.adopt()).await, Found::default());
    assert_eq!(processes(&running), []);
}

#[tokio::test]
async fn strangers_are_neither_adopted_nor_signalled() {
    let world = World::server();
    let runtime = world.runtime();
    let running = world.start_healthy(&runtime).await;
    runtime.stop(&running, Millis::from_secs(20)).await;
    let mut stranger = Command::new("setsid").arg("cat").stdin(Stdio::piped()).spawn().unwrap();
    let identity = Identity::of(stranger.id()).unwrap();
    let path = world.setup.state_of(Slot::A);
    let earlier = Identity { started: identity.started - 1, ..identity.clone() };
    let rebooted = Identity { boot: "0".repeat(36), ..identity.clone() };
    for forged in [identity.clone(), earlier, rebooted] {
        let state = State::read(&path).unwrap();
        State { minder: forged.clone(), child: Some(forged), ended: None, ..state }.write(&path).unwrap();
        let runtime = world.runtime();
        assert_eq!(soon(runtime.adopt()).await, Found::default());
        soon(runtime.stop(&running, Millis::ZERO)).await;
        soon(runtime.exited(&running)).await;
        assert!(runtime.check(&running).await.is_err());
        assert!(identity.lives(), "a stranger was ended");
    }
    let again = world.start_healthy(&runtime).await;
    runtime.stop(&again, Millis::from_secs(20)).await;
    assert!(identity.lives());
    drop(stranger.stdin.take());
    stranger.wait().unwrap();
}

#[tokio::test]
async fn a_place_has_one_minder() {
    let world = World::server();
    let runtime = world.runtime();
    let first = world.start_healthy(&runtime).await;
    // Another start in the same slot: the earlier one ends first.
    let second = world.start_healthy(&runtime).await;
    assert_eq!(processes(&first), []);
    assert_eq!(runtime.adopt().await, Found { apps: vec![second.clone()] });
    let exit = runtime.stop(&first, Millis::ZERO).await;
    assert_eq!(exit.how, "was not there", "the order is not for the one that runs now");
    healthy(&runtime, &second).await;
    runtime.stop(&second, Millis::from_secs(20)).await;
}

/// Between its lock and its first state a minder says nothing: an order that comes in the middle of a start is no failure.
#[tokio::test]
async fn a_place_that_is_being_taken_is_waited_for() {
    let world = World::server();
    let runtime = world.runtime();
    std::fs::create_dir_all(world.setup.state_of(Slot::A).parent().unwrap()).unwrap();
    let path = world.setup.state_of(Slot::A).with_extension("lock");
    let held = File::create(&path).unwrap();
    flock(&held, FlockOperation::LockExclusive).unwrap();
    let start = world.start(&runtime);
    let release = async {
        until(|| is_open_elsewhere(&path).then_some(())).await;
        drop(held);
    };
    let (running, ()) = tokio::join!(start, release);
    healthy(&runtime, &running).await;
    assert_eq!(runtime.adopt().await, Found { apps: vec![running.clone()] });
    runtime.stop(&running, Millis::from_secs(20)).await;
}

/// Who looks sees nothing before the minder, let go on at `gate`, has said its word, and its app after it.
async fn is_waited_for(runtime: &ProcessRuntime, gate: &Path) {
    let mut adopt = pin!(runtime.adopt());
    assert!(adopt.as_mut().now_or_never().is_none(), "its minder has not said anything yet");
    File::create(gate).unwrap();
    let apps = soon(adopt).await.apps;
    assert_eq!(apps.len(), 1);
    runtime.stop(&apps[0], Millis::from_secs(20)).await;
    assert_eq!((processes(&apps[0]), runtime.adopt().await), (vec![], Found::default()));
}

/// Its app must not appear after somebody has looked which apps there are: a migration may run then.
#[tokio::test]
async fn a_start_that_was_given_up_before_its_minder_said_a_word_is_waited_for() {
    let mut world = World::server();
    let gate = world.minders_wait();
    let runtime = world.runtime();
    give_up_a_start(&world, &runtime).await;
    is_waited_for(&runtime, &gate).await;
}

/// The one that started it is gone, and the next one does not know it.
#[tokio::test]
async fn a_start_that_an_earlier_agent_began_is_waited_for() {
    let mut world = World::server();
    let gate = world.minders_wait();
    give_up_a_start(&world, &world.runtime()).await;
    let runtime = world.runtime();
    is_waited_for(&runtime, &gate).await;
}

#[tokio::test]
async fn a_minder_that_never_says_a_word_is_ended() {
    let mut world = World::server();
    let gate = world.minders_wait();
    let lock = give_up_a_start(&world, &world.runtime()).await;
    let runtime = world.runtime();
    assert_eq!(soon(runtime.adopt()).await, Found::default());
    until(|| (!is_open_elsewhere(&lock)).then_some(())).await;
    File::create(&gate).unwrap();
    let running = world.start_healthy(&runtime).await;
    runtime.stop(&running, Millis::from_secs(20)).await;
}

/// Whoever follows a start gives it up in its own time.
#[tokio::test]
async fn a_slow_start_that_is_followed_is_left_alone() {
    let mut world = World::server();
    let gate = world.minders_wait();
    let runtime = world.runtime();
    let (release, id) = (release("1"), start_id());
    let start = async { soon(runtime.start(&release, Slot::A, &id)).await.unwrap() };
    let look = async {
        until(|| is_running(&id).then_some(())).await;
        assert_eq!(soon(runtime.adopt()).await, Found::default());
        File::create(&gate).unwrap();
    };
    let (running, ()) = tokio::join!(start, look);
    healthy(&runtime, &running).await;
    runtime.stop(&running, Millis::from_secs(20)).await;
}

/// Polls a start until there is a process for it, and drops it; the lock of its place.
async fn give_up_a_start(world: &World, runtime: &ProcessRuntime) -> PathBuf {
    let (release, start, lock) =
        (release("1"), start_id(), world.setup.state_of(Slot::A).with_extension("lock"));
    let mut pursued = pin!(runtime.start(&release, Slot::A, &start));
    until(|| {
        assert!(pursued.as_mut().now_or_never().is_none(), "its minder waits");
        is_running(&start).then_some(())
    })
    .await;
    lock
}

/// Whether some process has this start among its arguments.
fn is_running(start: &StartId) -> bool {
    let names = |process: PathBuf| {
        let arguments = std::fs::read(process.join("cmdline")).unwrap_or_default();
        arguments.split(|byte| *byte == 0).any(|argument| argument == start.as_str().as_bytes())
    };
    std::fs::read_dir("/proc").unwrap().flatten().any(|entry| names(entry.path()))
}

/// Whether another process has the file open.
fn is_open_elsewhere(path: &Path) -> bool {
    let has = |process: &PathBuf| {
        let files = std::fs::read_dir(process.join("fd")).into_iter().flatten().flatten();
        files.into_iter().any(|file| std::fs::read_link(file.path()).is_ok_and(|to| to == path))
    };
    let others = std::fs::read_dir("/proc").unwrap().flatten().map(|entry| entry.path());
    let me = PathBuf::from(format!("/proc/{}", std::process::id()));
    others
        .filter(|process| *process != me && !process.ends_with("self") && !process.ends_with("thread-self"))
        .any(|process| has(&process))
}
