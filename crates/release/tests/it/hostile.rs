//! Input that wants out, or wants too much: refused with the entry's name, and nothing of it on the disk.

use crate::common::{Entry, TarEntry, draft, packed, sample, tar, tree, unpacked, write, zip};
use everup_core::release::{File, Manifest};
use everup_release::names::{Limits, Refused, Why};
use everup_release::pack::{PackError, SourceError, pack};
use everup_release::unpack::UnpackError;
use everup_release::{check, digest_of};
use std::fs;
use std::path::Path;
use tar::EntryType::{Block, Char, Directory, Fifo, Link, Regular, Symlink};

const FILE: u32 = 0o100_644;
const LINK: u32 = 0o120_777;
const FOLDER: u32 = 0o040_777;

/// What packing `source` is refused with. Neither the folder outside nor anything beside `source` changes.
fn refusal(home: &Path, source: &Path, limits: Limits) -> Refused {
    let before = tree(home);
    let mut draft = draft("7");
    draft.limits = limits;
    let refused = match pack(source, draft, home) {
        Err(PackError::Source(SourceError::Refused(refused))) => refused,
        other => panic!("{source:?} should have been refused: {other:?}"),
    };
    assert_eq!(tree(home), before, "nothing was written");
    refused
}

/// A folder with another one outside of every release.
fn home() -> tempfile::TempDir {
    let home = tempfile::tempdir().unwrap();
    write(&home.path().join("outside/secret"), b"secret", 0o600);
    home
}

#[test]
fn zips_that_want_out_are_refused() {
    let cases: &[(&[Entry<'_>], &str, Why)] = &[
        (&[(b"/etc/x", FILE, b"")], "/etc/x", Why::Absolute),
        (&[(b"../x", FILE, b"")], "../x", Why::Dots("..")),
        (&[(b"a/../../x", FILE, b"")], "a/../../x", Why::Dots("..")),
        (&[(b"a//x", FILE, b"")], "a//x", Why::Dots("//")),
        (&[(b"./x", FILE, b"")], "./x", Why::Dots(".")),
        (&[(b"a\\..\\x", FILE, b"")], "a\\..\\x", Why::Backslash),
        (&[(b"x\0.txt", FILE, b"")], "x\0.txt", Why::Control),
        (&[(b"\xff\xfe", FILE, b"")], "\u{fffd}\u{fffd}", Why::NotUtf8),
        (&[(b"d", LINK, b"../outside"), (b"d/x", FILE, b"")], "d", Why::Leaves("../outside".into())),
        (&[(b"d", LINK, b"/tmp"), (b"d/", FOLDER, b"")], "d", Why::Leaves("/tmp".into())),
        (&[(b"d", LINK, b"a/../..")], "d", Why::Roundabout("a/../..".into())),
        (&[(b"a/", FOLDER, b""), (b"d", LINK, b"a"), (b"d/x", FILE, b"")], "d/x", Why::Below("d".into())),
        (&[(b"d/x", FILE, b""), (b"a/", FOLDER, b""), (b"d", LINK, b"a")], "d/x", Why::Below("d".into())),
        (&[(b"d", FILE, b""), (b"d/x", FILE, b"")], "d/x", Why::Below("d".into())),
        (&[(b"sda", 0o060_666, b"")], "sda", Why::Special),
        (&[(b"null", 0o020_666, b"")], "null", Why::Special),
        (&[(b"pipe", 0o010_666, b"")], "pipe", Why::Special),
        (&[(b"Readme", FILE, b""), (b"README", FILE, b"")], "Readme", Why::Clash("README".into())),
        (&[(b"\xc3\xa9", FILE, b""), (b"e\xcc\x81", FILE, b"")], "\u{e9}", Why::Clash("e\u{301}".into())),
    ];
    for (entries, name, why) in cases {
        let home = home();
        let path = home.path().join("release.zip");
        zip(&path, entries);
        let wanted = Refused::new(name, why.clone());
        assert_eq!(refusal(home.path(), &path, Limits::default()), wanted);
    }
}

#[test]
fn tars_that_want_out_are_refused() {
    let cases: &[(&[TarEntry<'_>], &str, Why)] = &[
        (&[("/etc/x", Regular, 0o644, "", b"x")], "/etc/x", Why::Absolute),
        (&[("../x", Regular, 0o644, "", b"x")], "../x", Why::Dots("..")),
        (&[("././x", Regular, 0o644, "", b"x")], "./x", Why::Dots(".")),
        (
            &[("d", Symlink, 0o777, "../outside", b""), ("d", Directory, 0o777, "", b"")],
            "d",
            Why::Leaves("../outside".into()),
        ),
        (&[("d", Symlink, 0o777, "a", b""), ("d/.", Directory, 0o777, "", b"")], "d/.", Why::Dots(".")),
        (&[("d", Directory, 0o777, "", b""), ("d", Symlink, 0o777, "a", b"")], "d", Why::Duplicate),
        (&[("d", Symlink, 0o777, "a", b""), ("d", Regular, 0o644, "", b"x")], "d", Why::Duplicate),
        (&[("x", Regular, 0o644, "", b"1"), ("x", Regular, 0o644, "", b"2")], "x", Why::Duplicate),
        (&[("h", Link, 0o644, "../outside/secret", b"")], "h", Why::HardLink("../outside/secret".into())),
        (
            &[("h", Link, 0o644, "d/secret", b""), ("d", Symlink, 0o777, "../outside", b"")],
            "h",
            Why::HardLink("d/secret".into()),
        ),
        (
            &[("a", Regular, 0o644, "", b"x"), ("h", Link, 0o644, "a", b"data")],
            "h",
            Why::HardLink("a".into()),
        ),
        (&[("sda", Block, 0o644, "", b"")], "sda", Why::Special),
        (&[("null", Char, 0o644, "", b"")], "null", Why::Special),
        (&[("pipe", Fifo, 0o644, "", b"")], "pipe", Why::Special),
    ];
    for (entries, name, why) in cases {
        let home = home();
        let path = home.path().join("release.tar");
        tar(&path, entries);
        let wanted = Refused::new(name, why.clone());
        assert_eq!(refusal(home.path(), &path, Limits::default()), wanted);
    }
}

#[test]
fn folders_that_lead_out_are_refused() {
    let links = [("/etc", Why::Leaves("/etc".into())), ("../outside", Why::Leaves("../outside".into()))];
    for (target, why) in links {
        let home = home();
        let source = home.path().join("source");
        write(&source.join("a.txt"), b"", 0o644);
        std::os::unix::fs::symlink(target, source.join("out")).unwrap();
        assert_eq!(refusal(home.path(), &source, Limits::default()), Refused::new("out", why));
    }
    let home = home();
    let source = home.path().join("source");
    fs::create_dir(&source).unwrap();
    let _socket = std::os::unix::net::UnixListener::bind(source.join("app.sock")).unwrap();
    let mut draft = draft("7");
    draft.limits = Limits::default();
    let error = pack(&source, draft, home.path()).unwrap_err();
    assert!(error.to_string().contains("\"app.sock\" is a device, pipe or socket"), "{error}");
}

#[test]
fn too_much_is_refused() {
    let home = home();
    let at = |name: &str| home.path().join(name);
    let small = Limits { entries: 3, bytes: 10 };
    let four: [Entry<'_>; 4] = [(b"a", FILE, b""), (b"b", FILE, b""), (b"c", FILE, b""), (b"d", FILE, b"")];
    zip(&at("many.zip"), &four);
    zip(&at("much.zip"), &[(b"a", FILE, b"12345678901")]);
    let four =
        [b"a", b"b", b"c", b"d"].map(|n| (std::str::from_utf8(n).unwrap(), Regular, 0o644, "", &b""[..]));
    tar(&at("many.tar"), &four);
    tar(&at("much.tar"), &[("a", Regular, 0o644, "", b"123456"), ("b", Regular, 0o644, "", b"78901")]);
    for name in ["a", "b", "c", "d"] {
        write(&at("many").join(name), b"", 0o644);
    }
    write(&at("much/a"), b"12345678901", 0o644);
    for name in ["many.zip", "many.tar", "many"] {
        assert_eq!(refusal(home.path(), &at(name), small).why, Why::TooMany(3), "{name}");
    }
    for name in ["much.zip", "much.tar", "much"] {
        assert_eq!(refusal(home.path(), &at(name), small).why, Why::TooMuch(10), "{name}");
    }
}

/// Changes the bytes of a zip that was made by hand.
fn patched(path: &Path, change: impl FnOnce(&mut Vec<u8>)) {
    let mut bytes = fs::read(path).unwrap();
    change(&mut bytes);
    fs::write(path, bytes).unwrap();
}

fn find(bytes: &[u8], what: &[u8]) -> usize {
    bytes.windows(what.len()).position(|window| window == what).unwrap()
}

#[test]
fn zips_that_lie_are_refused() {
    let home = home();
    let path = home.path().join("release.zip");
    let two: [Entry<'_>; 2] = [(b"a", FILE, b"first"), (b"b", FILE, b"other")];
    let at = |bytes: &[u8], n: usize| {
        let first = find(bytes, b"PK\x01\x02");
        first + n * (46 + 1)
    };
    // Both entries of the directory lead to the first file.
    zip(&path, &two);
    patched(&path, |bytes| {
        let second = at(bytes, 1);
        bytes[second + 42..second + 46].copy_from_slice(&0_u32.to_le_bytes());
    });
    assert_eq!(refusal(home.path(), &path, Limits::default()).why, Why::Overlap);
    // A declared size that so few bytes cannot hold.
    zip(&path, &two);
    patched(&path, |bytes| {
        let first = at(bytes, 0);
        bytes[first + 24..first + 28].copy_from_slice(&500_000_u32.to_le_bytes());
    });
    assert_eq!(refusal(home.path(), &path, Limits::default()), Refused::new("a", Why::Bomb(500_000, 5)));
    // Encrypted.
    zip(&path, &two);
    patched(&path, |bytes| {
        let first = at(bytes, 0);
        bytes[first + 8] |= 1;
    });
    assert_eq!(refusal(home.path(), &path, Limits::default()), Refused::new("a", Why::Encrypted));
    // The same name twice: the directory's names are patched alike.
    zip(&path, &two);
    patched(&path, |bytes| {
        let second = at(bytes, 1);
        bytes[second + 46] = b'a';
    });
    let error = pack(&path, draft("7"), home.path()).unwrap_err();
    assert!(error.to_string().contains("twice"), "{error}");
}

/// A release that is as it should be, and its archive.
fn good(home: &Path) -> (Manifest, Vec<u8>) {
    let source = home.join("source");
    sample(&source);
    let packed = packed(&source, "7");
    (packed.manifest.clone(), fs::read(packed.archive.path()).unwrap())
}

fn file<'a>(manifest: &'a mut Manifest, path: &str) -> &'a mut File {
    manifest.files.iter_mut().find(|f| f.path == path).unwrap()
}

#[test]
fn manifests_that_want_out_or_too_much_are_refused() {
    type Change = fn(&mut Manifest);
    let cases: &[(Change, Why)] = &[
        (|m| file(m, "empty").path = "/etc/x".into(), Why::Absolute),
        (|m| file(m, "empty").path = "../x".into(), Why::Dots("..")),
        (|m| file(m, "empty").path = "index.html".into(), Why::Duplicate),
        (|m| file(m, "empty").path = "Index.html".into(), Why::Clash("Index.html".into())),
        (|m| file(m, "empty").path = "bin/link/x".into(), Why::Below("bin/link".into())),
        (|m| file(m, "empty").mode = 0o4_755, Why::Mode(0o4_755)),
        (|m| file(m, "empty").mode = 0o020_644, Why::Special),
        (|m| file(m, "empty").size = 1 << 40, Why::TooMuch(16 << 30)),
        (|m| file(m, "empty").size = 10_000, Why::Bomb(10_000, 0)),
        (|m| file(m, "index.html").offset = file(m, "bin/run").offset, Why::Overlap),
        (|m| file(m, "index.html").offset = u64::MAX, Why::Overlap),
        (|m| file(m, "index.html").length += 1 << 20, Why::Overlap),
        (|m| m.archive.size = 10, Why::Overlap),
    ];
    for (change, why) in cases {
        let home = home();
        let (mut manifest, archive) = good(home.path());
        change(&mut manifest);
        let before = tree(home.path());
        match unpacked(&manifest, &archive, home.path()) {
            Err(UnpackError::Refused(refused)) => assert_eq!(&refused.why, why, "{refused}"),
            other => panic!("{why:?}: {other:?}"),
        }
        assert_eq!(tree(home.path()), before, "nothing appeared");
        assert!(check::entries(&manifest, Limits::default()).is_err());
    }
}

#[test]
fn archives_that_differ_from_their_manifest_are_refused() {
    type Change = fn(&mut Manifest, &mut Vec<u8>);
    let cases: &[(Change, &str)] = &[
        (|m, _| file(m, "bin/run").sha256 = digest_of(b"other"), "\"bin/run\" has other bytes"),
        (|m, _| file(m, "index.html").size -= 1, "\"index.html\" holds more than the"),
        (|m, _| file(m, "index.html").size += 1, "\"index.html\" has other bytes"),
        (|m, _| m.archive.sha256 = digest_of(b"other"), "the archive is not the one"),
        (|_, archive| archive.truncate(archive.len() - 1), "could not be read to its end"),
        (|_, archive| archive.truncate(100), "could not be read to its end"),
        (|_, archive| archive.push(0), "the archive is not the one"),
    ];
    for (change, words) in cases {
        let home = home();
        let (mut manifest, mut archive) = good(home.path());
        change(&mut manifest, &mut archive);
        let before = tree(home.path());
        let error = unpacked(&manifest, &archive, home.path()).unwrap_err();
        assert!(error.to_string().contains(words), "{words}: {error}");
        assert_eq!(tree(home.path()), before, "nothing appeared");
    }
}

#[test]
fn a_link_that_a_manifest_hides_is_judged_when_its_target_is_read() {
    let home = home();
    let (mut manifest, mut archive) = good(home.path());
    let link = file(&mut manifest, "bin/link").clone();
    let target = b"/outside/xx";
    assert_eq!(target.len() as u64, link.length);
    archive[link.offset as usize..][..target.len()].copy_from_slice(target);
    file(&mut manifest, "bin/link").sha256 = digest_of(target);
    manifest.archive.sha256 = digest_of(&archive);
    let error = unpacked(&manifest, &archive, home.path()).unwrap_err();
    let wanted = Refused::new("bin/link", Why::Leaves("/outside/xx".into()));
    assert!(matches!(&error, UnpackError::Refused(refused) if *refused == wanted), "{error}");
    assert!(!home.path().join("folder").exists() && !home.path().join("part").exists());
}
