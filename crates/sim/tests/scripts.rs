//! The planner's scripts and what it answered, recorded. `SNAPSHOTS=overwrite cargo test -p everup-sim --test scripts`
//! records anew; read the difference before it is committed.

use snapbox::Data;
use std::path::Path;

#[test]
fn every_script_plays_as_recorded() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/scripts");
    let mut scripts: Vec<_> = std::fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "txt"))
        .collect();
    scripts.sort();
    assert!(scripts.len() > 10, "the scripts are missing");
    let assert = snapbox::Assert::new().action_env("SNAPSHOTS");
    for script in scripts {
        let played = everup_sim::script::play(&std::fs::read_to_string(&script).unwrap());
        let played = played.unwrap_or_else(|what| panic!("{}: {what}", script.display()));
        let recorded = Data::read_from(&script.with_extension("out"), None);
        assert.eq(played, recorded);
    }
}
