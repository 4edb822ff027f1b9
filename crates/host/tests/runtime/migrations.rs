//! Migrations: begun once, ended by nobody, and told as far as it is known.

use crate::world::*;
use everup_core::ids::{DeploymentId, Environment, MigrationId};
use everup_core::instance::{Outcome, Run};
use everup_core::release::Command;
use everup_core::seams::Runtime;
use everup_host::minder::State;
use everup_host::proc::marked;
use rustix::process::Signal;
use std::path::PathBuf;

fn run(command: &str) -> Run {
    Run {
        migration: MigrationId::new("add-prices").unwrap(),
        release: release("1"),
        deployment: DeploymentId::new("d-1").unwrap(),
        environment: Environment::new("test").unwrap(),
        attempt: 1,
        command: Command(command.to_owned()),
        undo: false,
    }
}

fn folder(world: &World) -> PathBuf {
    world.setup.folder.join("runs/d-1/add-prices-1")
}

fn state(world: &World) -> Option<State> {
    State::read(&folder(world).join("run.json")).filter(|state| state.child.is_some())
}

fn exited(outcome: &Outcome) -> (i32, String) {
    match outcome {
        Outcome::Exited { code, log } => (*code, log.join("\n")),
        other => panic!("{other:?}"),
    }
}

#[tokio::test]
async fn a_run_happens_once_however_often_it_is_asked_for() {
    let world = World::server();
    let text = "echo $EVERUP_MIGRATION_ID $EVERUP_MIGRATION_ATTEMPT; echo x >> $EVERUP_DATA/runs; exit 3";
    let first = soon(world.runtime().run_once(&run(text))).await;
    assert_eq!(exited(&first), (3, "add-prices 1".to_owned()));
    assert_eq!(soon(world.runtime().run_once(&run(text))).await, first);
    assert_eq!(world.runtime().settle(&run(text)).await, Some(first));
    assert_eq!(world.read("runs"), "x\n");
    let second = soon(world.runtime().run_once(&Run { attempt: 2, ..run(text) })).await;
    let undo = soon(world.runtime().run_once(&Run { undo: true, ..run(text) })).await;
    assert_eq!((exited(&second).1.as_str(), exited(&undo).0), ("add-prices 2", 3));
    assert_eq!(world.read("runs"), "x\nx\nx\n");
}

#[tokio::test]
async fn a_run_outlives_its_agent_and_the_next_one_waits_for_it() {
    let world = World::server();
    let text =
        "echo begun > $EVERUP_DATA/begun; while ! test -f $EVERUP_DATA/go; do sleep 0.02; done; echo done";
    {
        let runtime = world.runtime();
        let order = run(text);
        let first = runtime.run_once(&order);
        tokio::select! {
            _ = first => panic!("it waits for us"),
            _ = world.written("begun") => {}
        }
        assert_eq!(runtime.settle(&run(text)).await, None, "it runs");
    }
    let runtime = world.runtime();
    let order = run(text);
    let (outcome, ()) = tokio::join!(soon(runtime.run_once(&order)), async {
        std::fs::write(world.data().join("go"), "").unwrap();
    });
    assert_eq!(exited(&outcome), (0, "done".to_owned()));
}

#[tokio::test]
async fn a_parent_that_ends_early_is_not_the_end() {
    let world = World::server();
    let text =
        "setsid sh -c 'while ! test -f $EVERUP_DATA/go; do sleep 0.02; done; echo x >> $EVERUP_DATA/late' &
                echo forked > $EVERUP_DATA/forked
                while ! test -f $EVERUP_DATA/end; do sleep 0.02; done; exit 0";
    let runtime = world.runtime();
    let order = run(text);
    let (outcome, ()) = tokio::join!(soon(runtime.run_once(&order)), async {
        world.written("forked").await;
        // It ends only now: one that ends at once may be gone before its minder can write down who it was.
        let main = until(|| state(&world)).await.child.unwrap();
        std::fs::write(world.data().join("end"), "").unwrap();
        until(|| (!main.lives()).then_some(())).await;
        assert_eq!(world.runtime().settle(&order).await, None, "the rest of it runs");
        std::fs::write(world.data().join("go"), "").unwrap();
    });
    assert_eq!((exited(&outcome).0, world.read("late").as_str()), (0, "x\n"));
}

#[tokio::test]
async fn a_run_that_is_killed_is_not_known() {
    let world = World::server();
    let order = run("echo half; kill -9 $$");
    let outcome = soon(world.runtime().run_once(&order)).await;
    let Outcome::Unknown { reason, log } = outcome else { panic!("{outcome:?}") };
    assert_eq!(reason, format!("migration {} was ended by signal 9 (KILL)", order.migration));
    assert_eq!(log, ["half"]);
}

#[tokio::test]
async fn a_run_whose_minder_is_killed_is_not_known_and_told_when_it_is_over() {
    let world = World::server();
    // It does not write after its minder is dead: nobody would read it.
    let text = "echo half; echo x > $EVERUP_DATA/x; while ! test -f $EVERUP_DATA/go; do sleep 0.02; done";
    let runtime = world.runtime();
    let order = run(text);
    let mut outcome = Box::pin(runtime.run_once(&order));
    let orphaned = async {
        world.written("x").await;
        let state = until(|| state(&world)).await;
        let log = folder(&world).join("run.log");
        until(|| std::fs::read(&log).ok().filter(|text| text == b"half\n")).await;
        state.minder.signal(Signal::KILL);
        until(|| (!state.minder.lives()).then_some(())).await;
        // Asked for a while: the outcome must not be told as long as anything of it runs.
        for _ in 0..20 {
            assert_eq!(world.runtime().settle(&order).await, None, "its processes still run");
            tokio::time::sleep(std::time::Duration::from_millis(5)).await;
        }
        assert!(
            !marked(&format!("EVERUP_START={}", state.start), 0).is_empty(),
            "nobody may kill a migration"
        );
        state
    };
    let state = tokio::select! {
        outcome = &mut outcome => panic!("told too early: {outcome:?}"),
        state = soon(orphaned) => state,
    };
    std::fs::write(world.data().join("go"), "").unwrap();
    let outcome = soon(outcome).await;
    let Outcome::Unknown { reason, log } = outcome else { panic!("{outcome:?}") };
    assert!(reason.contains("its minder was killed") && log == ["half"], "{reason} {log:?}");
    assert_eq!(marked(&format!("EVERUP_START={}", state.start), 0), []);
}

#[tokio::test]
async fn what_was_settled_never_begins() {
    let world = World::server();
    let order = run("echo x > $EVERUP_DATA/ran");
    assert!(world.runtime().settle(&order).await.unwrap().is_never_begun());
    assert!(soon(world.runtime().run_once(&order)).await.is_never_begun());
    assert_eq!(world.read("ran"), "");
}

#[tokio::test]
async fn of_a_settlement_and_a_begin_one_wins() {
    for _ in 0..5 {
        let world = World::server();
        let order = run("echo x > $EVERUP_DATA/ran");
        let (one, two) = (world.runtime(), world.runtime());
        let (outcome, settled) = tokio::join!(soon(one.run_once(&order)), async {
            tokio::task::yield_now().await;
            two.settle(&order).await
        });
        let ran = world.read("ran") == "x\n";
        assert_eq!(outcome.is_never_begun(), !ran, "{outcome:?}");
        assert_eq!(settled.as_ref().is_some_and(Outcome::is_never_begun), !ran, "{settled:?}");
    }
}

#[tokio::test]
async fn what_cannot_be_run_is_known_never_to_have_begun() {
    let world = World::server();
    let order = Run { release: release("missing"), ..run("echo x") };
    assert!(soon(world.runtime().run_once(&order)).await.is_never_begun());
    assert!(world.runtime().settle(&order).await.unwrap().is_never_begun());
}

#[tokio::test]
async fn of_a_long_output_the_beginning_and_the_end_are_kept() {
    let world = World::server();
    let text = r#"python3 -c 'import sys
for n in range(400000): sys.stdout.write("line %d %s\n" % (n, "x" * 40))'"#;
    let outcome = soon(world.runtime().run_once(&run(text))).await;
    let (code, log) = exited(&outcome);
    assert!(code == 0 && log.lines().last().unwrap().starts_with("line 399999 "), "{log}");
    let read = |name: &str| std::fs::read_to_string(folder(&world).join(name)).unwrap();
    assert!(read("run.log").starts_with("line 0 "));
    let logs = std::fs::read_dir(folder(&world)).unwrap().map(Result::unwrap);
    let logs = logs.filter(|entry| entry.file_name().to_string_lossy().starts_with("run.log"));
    let size: u64 = logs.map(|entry| entry.metadata().unwrap().len()).sum();
    assert!(size <= 3 << 20, "{size} bytes of 20 MB");
}
