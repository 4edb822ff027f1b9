//! Stopping: the whole tree, politely first, and nothing of it stays.

use crate::world::*;
use everup_core::seams::Runtime;
use everup_core::time::Millis;
use everup_host::proc::listening_on;
use std::io::Write;

/// A worker that forks twice, makes a session of its own, ignores TERM, renames itself and listens on the port.
const DAEMON: &str = r#"
import os, signal, socket, time
if os.fork(): os._exit(0)
os.setsid()
if os.fork(): os._exit(0)
signal.signal(signal.SIGTERM, signal.SIG_IGN)
open("/proc/self/comm", "w").write("quite another")
listener = socket.create_server(("127.0.0.1", int(os.environ["PORT"])))
open(os.environ["EVERUP_DATA"] + "/daemon", "w").write("%d\n" % os.getpid())
while True: time.sleep(600)
"#;

fn with_script(world: &World, name: &str, script: &str) {
    let folder = world.release_folder();
    std::fs::File::create(folder.join(name)).unwrap().write_all(script.as_bytes()).unwrap();
}

#[tokio::test]
async fn a_tree_that_forks_away_and_ignores_term_is_killed_whole_and_named() {
    let world = World::new("trap '' TERM; python3 daemon.py; while :; do sleep 600; done");
    with_script(&world, "daemon.py", DAEMON);
    let runtime = world.runtime();
    for _ in 0..3 {
        let running = world.start(&runtime).await;
        world.written("daemon").await;
        let exit = soon(runtime.stop(&running, Millis(200))).await;
        assert_eq!(exit.how, "signal 9 (KILL)");
        let killed = exit.killed.join(", ");
        assert!(killed.contains("quite another") && killed.contains("sh"), "{killed}");
        assert_eq!(processes(&running), []);
        assert_eq!(listening_on(world.setup.ports[0]), []);
        std::fs::remove_file(world.data().join("daemon")).unwrap();
    }
}

/// An app that finishes its work when it is told to end; the shell before it dies at once.
const WORK: &str = r#"
import os, signal, sys, time
def end(*_):
    time.sleep(0.3)
    open(os.environ["EVERUP_DATA"] + "/done", "w").write("done\n")
    sys.exit(0)
signal.signal(signal.SIGTERM, end)
open(os.environ["EVERUP_DATA"] + "/ready", "w").write("ready\n")
while True: time.sleep(600)
"#;

#[tokio::test]
async fn a_stop_ends_with_the_last_process_and_not_with_the_wrapper() {
    let world = World::new("python3 work.py; true");
    with_script(&world, "work.py", WORK);
    let runtime = world.runtime();
    let running = world.start(&runtime).await;
    world.written("ready").await;
    let exit = soon(runtime.stop(&running, Millis::from_secs(20))).await;
    assert_eq!((world.read("done").as_str(), exit.killed.len()), ("done\n", 0), "{exit:?}");
    assert_eq!(exit.how, "signal 15 (TERM)", "the wrapper's own end");
}

#[tokio::test]
async fn an_app_whose_main_process_ends_is_over_with_all_that_it_left() {
    let mut world = World::new("python3 daemon.py; sleep 600 & exit 7");
    world.setup.app.stop = Millis(200);
    with_script(&world, "daemon.py", DAEMON);
    let runtime = world.runtime();
    let running = world.start(&runtime).await;
    let exit = soon(runtime.exited(&running)).await;
    assert_eq!(exit.how, "exit status 7");
    assert_eq!(processes(&running), []);
}

#[tokio::test]
async fn a_suspended_app_is_stopped_politely_too() {
    let world = World::new("exec python3 work.py");
    with_script(&world, "work.py", WORK);
    let runtime = world.runtime();
    let running = world.start(&runtime).await;
    world.written("ready").await;
    for process in processes(&running) {
        process.identity().signal(rustix::process::Signal::STOP);
    }
    let exit = soon(runtime.stop(&running, Millis::from_secs(20))).await;
    assert_eq!((world.read("done").as_str(), exit.how.as_str()), ("done\n", "exit status 0"));
}

#[tokio::test]
async fn term_to_the_minder_is_a_stop_and_a_dropped_stop_can_be_repeated() {
    let world = World::new("exec python3 work.py");
    with_script(&world, "work.py", WORK);
    let runtime = world.runtime();
    let running = world.start(&runtime).await;
    world.written("ready").await;
    world.minder().signal(rustix::process::Signal::TERM);
    let exit = soon(runtime.exited(&running)).await;
    assert_eq!((world.read("done").as_str(), exit.how.as_str()), ("done\n", "exit status 0"));

    let world = World::new("trap '' TERM; echo ready > $EVERUP_DATA/ready; while :; do sleep 600; done");
    let runtime = world.runtime();
    let running = world.start(&runtime).await;
    world.written("ready").await;
    let dropped = tokio::time::timeout(
        std::time::Duration::from_millis(50),
        runtime.stop(&running, Millis::from_secs(3_600)),
    );
    assert!(dropped.await.is_err());
    let exit = soon(runtime.stop(&running, Millis(100))).await;
    assert_eq!(exit.how, "signal 9 (KILL)", "the second, shorter deadline counts");
}

#[tokio::test]
async fn a_minder_that_hangs_does_not_keep_its_app_alive() {
    let world = World::server();
    let runtime = world.runtime();
    let running = world.start_healthy(&runtime).await;
    world.minder().signal(rustix::process::Signal::STOP);
    let exit = soon(runtime.stop(&running, Millis::ZERO)).await;
    assert_eq!(exit.how, "its minder was killed");
    assert_eq!(processes(&running), []);
}
