//! An app's output: bounded on disk, never a reason for the app to wait, and there when it is asked for.

use crate::world::*;
use everup_core::instance::Slot;
use everup_core::seams::Runtime;
use everup_core::time::Millis;

/// What the log folder holds, in bytes.
fn size(world: &World) -> u64 {
    let folder = std::fs::read_dir(world.setup.folder.join("log")).unwrap();
    folder.map(|entry| entry.unwrap().metadata().unwrap().len()).sum()
}

#[tokio::test]
async fn a_flood_stays_within_its_bound_and_the_last_lines_are_there() {
    let world = World::new(
        r#"exec python3 -c 'import sys
for n in range(500000): sys.stdout.write("line %d %s\n" % (n, "x" * 40))
sys.stdout.buffer.write(b"\xff\xfe\x00" + b"y" * 5_000_000)
sys.stdout.buffer.write(b"\nthe last line\n"); sys.exit(9)'"#,
    );
    let runtime = world.runtime();
    let running = world.start(&runtime).await;
    let exit = soon(runtime.exited(&running)).await;
    assert_eq!((exit.how.as_str(), exit.log.last().unwrap().as_str()), ("exit status 9", "the last line"));
    assert!(size(&world) <= 2 << 20, "{} bytes", size(&world));
}

#[tokio::test]
async fn a_disk_that_refuses_the_log_does_not_stop_the_app() {
    let world = World::new(
        r#"exec python3 -c 'import sys
for n in range(100000): sys.stdout.write("line %d %s\n" % (n, "x" * 40))
sys.exit(9)'"#,
    );
    // A folder in the log's place: nothing can be written there, not even by root.
    std::fs::create_dir_all(world.setup.log_of(Slot::A)).unwrap();
    let runtime = world.runtime();
    let running = world.start(&runtime).await;
    let exit = soon(runtime.exited(&running)).await;
    assert_eq!(exit.how, "exit status 9");
    assert!(exit.log.last().unwrap().starts_with("line 99999 "), "{exit:?}");
}

/// What an earlier start wrote is no word of this one.
#[tokio::test]
async fn the_last_words_are_this_starts_own() {
    let mut world = World::new("echo begun as $WHO; exec sleep 600");
    for who in ["one", "two"] {
        world.setup.app.env.insert("WHO".to_owned(), who.to_owned());
        let runtime = world.runtime();
        let running = world.start(&runtime).await;
        let log = world.setup.log_of(Slot::A);
        until(|| std::fs::read_to_string(&log).ok().filter(|text| text.contains(who))).await;
        assert_eq!(runtime.check(&running).await.unwrap_err().log, [format!("begun as {who}")]);
        runtime.stop(&running, Millis::ZERO).await;
    }
}

#[tokio::test]
async fn a_log_goes_on_after_a_restart() {
    let world = World::new("echo begun; exec sleep 600");
    let runtime = world.runtime();
    for times in 1..=2 {
        let running = world.start(&runtime).await;
        let log = world.setup.log_of(Slot::A);
        until(|| std::fs::read_to_string(&log).ok().filter(|text| *text == "begun\n".repeat(times))).await;
        runtime.stop(&running, Millis::ZERO).await;
    }
}
