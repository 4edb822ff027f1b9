//! From a source to the store and back.

use crate::common::{Memory, draft, gzip, packed, run, sample, tar, tree, unpacked, version, write, zip};
use everup_core::ids::{Environment, MigrationId};
use everup_core::release::{Command, Migration, OnFailure};
use everup_core::time::Wall;
use everup_release::catalog::{self, CatalogError};
use everup_release::pack::{SourceError, pack};
use everup_release::publish::{PublishError, Published, publish};
use everup_release::{config, layout, retention, verify};
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;
use tar::EntryType;

#[test]
fn a_folder_comes_back_as_it_was() {
    let home = tempfile::tempdir().unwrap();
    let source = home.path().join("source");
    sample(&source);
    let packed = packed(&source, "7");
    unpacked(&packed.manifest, &fs::read(packed.archive.path()).unwrap(), home.path()).unwrap();
    assert_eq!(tree(&home.path().join("folder")), tree(&source));
    verify::verify(&packed.manifest, &home.path().join("folder")).unwrap();
    assert!(!home.path().join("part").exists());
}

#[test]
fn the_same_files_give_the_same_bytes() {
    let home = tempfile::tempdir().unwrap();
    let digests: Vec<_> = ["one", "two"]
        .iter()
        .map(|name| {
            sample(&home.path().join(name));
            packed(&home.path().join(name), "7").manifest.archive
        })
        .collect();
    assert_eq!(digests[0], digests[1]);
}

#[test]
fn zip_tar_and_tar_gz_of_one_tree_are_one_release() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    write(&at("folder/a.txt"), b"text", 0o644);
    write(&at("folder/bin/run"), b"#!/bin/sh\n", 0o755);
    std::os::unix::fs::symlink("run", at("folder/bin/again")).unwrap();
    let entries: [crate::common::Entry<'_>; 4] = [
        (b"bin/", 0o040_755, b""),
        (b"bin/run", 0o100_755, b"#!/bin/sh\n"),
        (b"bin/again", 0o120_777, b"run"),
        (b"a.txt", 0o100_644, b"text"),
    ];
    zip(&at("release.zip"), &entries);
    let entries: [crate::common::TarEntry<'_>; 5] = [
        ("./", EntryType::Directory, 0o755, "", b""),
        ("./a.txt", EntryType::Regular, 0o644, "", b"text"),
        ("./bin/", EntryType::Directory, 0o755, "", b""),
        ("./bin/again", EntryType::Symlink, 0o777, "run", b""),
        ("./bin/run", EntryType::Regular, 0o755, "", b"#!/bin/sh\n"),
    ];
    tar(&at("release.tar"), &entries);
    gzip(&at("release.tar"), &at("release.tgz"));
    let wanted = packed(&at("folder"), "7").manifest.archive;
    for name in ["release.zip", "release.tar", "release.tgz"] {
        assert_eq!(packed(&at(name), "7").manifest.archive, wanted, "{name}");
    }
}

#[test]
fn a_hard_link_in_a_tar_is_a_copy() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("release.tar");
    tar(&path, &[("a", EntryType::Regular, 0o644, "", b"text"), ("b", EntryType::Link, 0o644, "a", b"")]);
    let files = packed(&path, "7").manifest.files;
    assert_eq!((files[1].path.as_str(), files[1].size, &files[1].sha256), ("b", 4, &files[0].sha256));
}

#[test]
fn an_archive_without_modes_gets_plain_ones() {
    let home = tempfile::tempdir().unwrap();
    let path = home.path().join("made-on-windows.zip");
    zip(&path, &[(b"a.txt", 0, b"text"), (b"empty/", 0, b"")]);
    let modes: Vec<u32> = packed(&path, "7").manifest.files.iter().map(|f| f.mode).collect();
    assert_eq!(modes, [0o644, 0o040_755]);
}

#[test]
fn what_is_no_release_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let at = |name: &str| home.path().join(name);
    fs::create_dir(at("nothing")).unwrap();
    fs::write(at("notes.txt"), "text").unwrap();
    fs::write(at("torn.zip"), b"PK\x03\x04 and no more").unwrap();
    let open = |name: &str| match pack(&at(name), draft("7"), home.path()) {
        Err(everup_release::pack::PackError::Source(error)) => error,
        other => panic!("{name}: {other:?}"),
    };
    assert!(matches!(open("nothing"), SourceError::Empty(_)));
    assert!(matches!(open("notes.txt"), SourceError::Unknown(_)));
    assert!(matches!(open("torn.zip"), SourceError::Damaged { kind: "zip", .. }));
    assert!(matches!(open("absent"), SourceError::Io { .. }));
}

/// A store, and a folder with one file in it.
fn shop(home: &Path, text: &str) -> (Memory, std::path::PathBuf) {
    let source = home.join("source");
    write(&source.join("a.txt"), text.as_bytes(), 0o644);
    (Memory::default(), source)
}

#[test]
fn a_published_release_is_found_and_listed() {
    let home = tempfile::tempdir().unwrap();
    let (store, source) = shop(home.path(), "seven");
    let release = run(async {
        let Published::New(release) = publish(&store, &packed(&source, "7")).await.unwrap() else { panic!() };
        let found = catalog::find(&store, &version("7")).await.unwrap();
        assert_eq!(found.release, release);
        assert_eq!(catalog::read(&store, &release).await.unwrap().0, found.manifest);
        let mut newer = draft("2026.1");
        newer.published = Wall(2_000);
        publish(&store, &pack(&source, newer, home.path()).unwrap()).await.unwrap();
        let listed = catalog::list(&store).await.unwrap();
        let listed: Vec<&str> = listed.iter().map(|l| l.release.version.as_str()).collect();
        assert_eq!(listed, ["2026.1", "7"], "the newest first");
        release
    });
    assert_eq!(layout::folder_name(&release), format!("7-{}", &release.manifest.as_str()[..12]));
}

#[test]
fn a_version_is_its_bytes() {
    let home = tempfile::tempdir().unwrap();
    let (store, source) = shop(home.path(), "seven");
    run(async {
        let first = packed(&source, "7");
        let release = publish(&store, &first).await.unwrap().release().clone();
        let mut later = draft("7");
        later.published = Wall(9_000);
        let again = publish(&store, &pack(&source, later, home.path()).unwrap()).await.unwrap();
        assert_eq!(again, Published::Already(release.clone()), "the same bytes, later");

        write(&source.join("a.txt"), b"seveN", 0o644);
        let other = packed(&source, "7");
        let before = store.objects.borrow().clone();
        let error = publish(&store, &other).await.unwrap_err();
        let PublishError::OtherBytes { stored, yours, .. } = &error else { panic!("{error}") };
        assert_eq!((stored, yours), (&first.manifest.archive.sha256, &other.manifest.archive.sha256));
        assert!(error.to_string().contains("a.txt"), "{error}");
        assert_eq!(*store.objects.borrow(), before, "nothing was stored or changed");
    });
}

#[test]
fn another_command_migration_or_configuration_is_another_release() {
    let home = tempfile::tempdir().unwrap();
    let (store, source) = shop(home.path(), "seven");
    write(&home.path().join("production/app.conf"), b"x=1", 0o600);
    let mut commanded = draft("7");
    commanded.start = Some(Command("node server.js".into()));
    let mut migrating = draft("7");
    migrating.migration = Some(Migration {
        id: MigrationId::new("m1").unwrap(),
        command: Command("migrate".into()),
        undo: None,
        on_failure: OnFailure::GoBack,
    });
    let mut configured = draft("7");
    configured.configurations.insert(Environment::new("production").unwrap(), home.path().join("production"));
    run(async {
        publish(&store, &packed(&source, "7")).await.unwrap();
        for (what, draft) in [("start", commanded), ("migration", migrating), ("production", configured)] {
            let error = publish(&store, &pack(&source, draft, home.path()).unwrap()).await.unwrap_err();
            assert!(error.to_string().contains(what), "{error}");
        }
    });
}

#[test]
fn a_lost_answer_is_no_rival() {
    let home = tempfile::tempdir().unwrap();
    let (store, source) = shop(home.path(), "seven");
    store.lose_answer.set(true);
    assert!(matches!(run(publish(&store, &packed(&source, "7"))).unwrap(), Published::New(_)));
}

#[test]
fn the_loser_of_a_race_leaves_nothing() {
    let home = tempfile::tempdir().unwrap();
    let (store, source) = shop(home.path(), "seven");
    let ours = packed(&source, "7");
    write(&source.join("a.txt"), b"other", 0o644);
    let theirs = packed(&source, "7");
    run(async {
        let elsewhere = Memory::default();
        publish(&elsewhere, &theirs).await.unwrap();
        // Theirs arrives between our look and our write.
        store.rival.replace(elsewhere.objects.take());
        assert!(matches!(publish(&store, &ours).await, Err(PublishError::OtherBytes { .. })));
        assert_eq!(catalog::find(&store, &version("7")).await.unwrap().release, theirs.release());
        assert_eq!(store.objects.borrow().len(), 2, "one manifest, one archive");
    });
}

#[test]
fn an_archive_that_went_missing_is_stored_again() {
    let home = tempfile::tempdir().unwrap();
    let (store, source) = shop(home.path(), "seven");
    let packed = packed(&source, "7");
    run(publish(&store, &packed)).unwrap();
    let key = layout::part_key(&version("7"), &packed.manifest.archive);
    assert!(store.objects.borrow_mut().remove(&key).is_some());
    assert!(matches!(run(publish(&store, &packed)).unwrap(), Published::Already(_)));
    assert!(store.objects.borrow().contains_key(&key));
}

#[test]
fn an_unknown_version_names_the_near_ones() {
    let home = tempfile::tempdir().unwrap();
    let (store, source) = shop(home.path(), "x");
    run(async {
        let text = catalog::find(&store, &version("1")).await.unwrap_err().to_string();
        assert!(text.contains("nothing is published yet"), "{text}");
        publish(&store, &packed(&source, "2026.11")).await.unwrap();
        let text = catalog::find(&store, &version("2026.1")).await.unwrap_err().to_string();
        assert_eq!(text, "there is no version 2026.1 in the store; the store has 2026.11");
    });
}

#[test]
fn a_manifest_that_was_changed_in_the_store_is_refused() {
    let home = tempfile::tempdir().unwrap();
    let (store, source) = shop(home.path(), "x");
    run(async {
        let release = publish(&store, &packed(&source, "7")).await.unwrap().release().clone();
        let key = layout::manifest_key(&version("7"));
        store.objects.borrow_mut().get_mut(&key).unwrap().push(b' ');
        let error = catalog::read(&store, &release).await.unwrap_err();
        assert!(matches!(error, CatalogError::OtherBytes { .. }), "{error}");
    });
}

#[test]
fn old_releases_go_but_not_those_that_are_needed() {
    let home = tempfile::tempdir().unwrap();
    let (store, source) = shop(home.path(), "x");
    run(async {
        for n in 1..=5 {
            let mut draft = draft(&n.to_string());
            draft.published = Wall(n);
            publish(&store, &pack(&source, draft, home.path()).unwrap()).await.unwrap();
        }
        let gone = retention::prune(&store, 2, &BTreeSet::from([version("1")])).await.unwrap();
        assert_eq!(gone, [version("3"), version("2")]);
        let left = catalog::versions(&store).await.unwrap();
        assert_eq!(left, [version("1"), version("4"), version("5")]);
        assert_eq!(store.objects.borrow().len(), 6, "nothing else of them is left");
    });
}

#[test]
fn a_configuration_comes_back_and_is_compared() {
    let home = tempfile::tempdir().unwrap();
    let (_, source) = shop(home.path(), "x");
    let at = |name: &str| home.path().join(name);
    sample(&at("production"));
    let production = Environment::new("production").unwrap();
    let mut draft = draft("7");
    draft.configurations.insert(production.clone(), at("production"));
    let packed = pack(&source, draft, home.path()).unwrap();
    let (part, zip) =
        (&packed.manifest.configurations[&production], packed.configurations[&production].path());
    config::into_place(part, zip, &at("part"), &at("config")).unwrap();
    assert_eq!(tree(&at("config")), tree(&at("production")));
    config::verify(part, zip, &at("config")).unwrap();
    write(&at("config/index.html"), b"changed", 0o644);
    let error = config::verify(part, zip, &at("config")).unwrap_err();
    assert!(error.to_string().contains("index.html"), "{error}");
    let other = &packed.manifest.archive;
    assert!(matches!(config::verify(other, zip, &at("config")), Err(config::ConfigError::Other { .. })));
}

#[test]
fn a_changed_file_on_disk_is_found() {
    let home = tempfile::tempdir().unwrap();
    let source = home.path().join("source");
    sample(&source);
    let packed = packed(&source, "7");
    let archive = fs::read(packed.archive.path()).unwrap();
    type Change = fn(&Path);
    let changes: [(&str, Change); 6] = [
        ("its size", |root| write(&root.join("bin/run"), b"x", 0o755)),
        ("SHA-256", |root| write(&root.join("bin/run"), b"#!/bin/SH\n", 0o755)),
        ("its mode", |root| write(&root.join("bin/run"), b"#!/bin/sh\n", 0o644)),
        ("cannot read", |root| fs::remove_file(root.join("empty")).unwrap()),
        ("something else", |root| {
            fs::remove_file(root.join("empty")).unwrap();
            fs::create_dir(root.join("empty")).unwrap();
        }),
        ("leads elsewhere", |root| {
            fs::remove_file(root.join("bin/link")).unwrap();
            std::os::unix::fs::symlink("run", root.join("bin/link")).unwrap();
        }),
    ];
    for (what, change) in changes {
        let home = tempfile::tempdir().unwrap();
        unpacked(&packed.manifest, &archive, home.path()).unwrap();
        let folder = home.path().join("folder");
        write(&folder.join("written-by-the-app.log"), b"...", 0o644);
        verify::verify(&packed.manifest, &folder).unwrap();
        change(&folder);
        let error = verify::verify(&packed.manifest, &folder).unwrap_err();
        assert!(error.to_string().contains(what), "{what}: {error}");
    }
}
