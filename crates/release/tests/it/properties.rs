//! For any tree: it comes back as it was. For any change to an archive: nothing appears.

use crate::common::{packed, tree, unpacked, write};
use proptest::prelude::*;
use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

#[derive(Debug, Clone)]
enum Node {
    File(Vec<u8>, u32),
    Link(String),
    Folder(BTreeMap<String, Node>),
}

/// Names of their own level that differ in more than case.
fn name() -> impl Strategy<Value = String> {
    prop_oneof!["[a-z]{1,6}", "[a-z]{1,3}\\.[a-z]{2}", "[äöüßéñ日本語]{1,4}", "[a-z]{1,3} [a-z]{1,3}"]
}

fn node() -> impl Strategy<Value = Node> {
    let body = prop_oneof![
        proptest::collection::vec(any::<u8>(), 0..300),
        (any::<u8>(), 0..400_000_usize).prop_map(|(byte, length)| vec![byte; length]),
    ];
    let mode = prop_oneof![Just(0o644), Just(0o755), Just(0o600), Just(0o444)];
    let leaf = prop_oneof![
        4 => (body, mode).prop_map(|(body, mode)| Node::File(body, mode)),
        1 => "[a-z]{1,5}".prop_map(Node::Link),
    ];
    leaf.prop_recursive(3, 24, 6, |inner| {
        proptest::collection::btree_map(name(), inner, 0..6).prop_map(Node::Folder)
    })
}

fn build(path: &Path, node: &Node) {
    match node {
        Node::File(body, mode) => write(path, body, *mode),
        Node::Link(target) => std::os::unix::fs::symlink(target, path).unwrap(),
        Node::Folder(nodes) => {
            fs::create_dir(path).unwrap();
            for (name, node) in nodes {
                build(&path.join(name), node);
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 32, ..ProptestConfig::default() })]

    #[test]
    fn any_tree_comes_back_as_it_was(nodes in proptest::collection::btree_map(name(), node(), 1..6)) {
        let home = tempfile::tempdir().unwrap();
        let source = home.path().join("source");
        build(&source, &Node::Folder(nodes));
        let packed = packed(&source, "7");
        let archive = fs::read(packed.archive.path()).unwrap();
        unpacked(&packed.manifest, &archive, home.path()).unwrap();
        prop_assert_eq!(tree(&home.path().join("folder")), tree(&source));
        // Any other tool reads the same names and sizes.
        let mut zip = zip::ZipArchive::new(std::io::Cursor::new(archive)).unwrap();
        prop_assert_eq!(zip.len(), packed.manifest.files.len());
        for (index, file) in packed.manifest.files.iter().enumerate() {
            let mut entry = zip.by_index(index).unwrap();
            let name = entry.name().unwrap().into_owned();
            prop_assert_eq!(name.trim_end_matches('/'), &file.path);
            let mut body = Vec::new();
            std::io::Read::read_to_end(&mut entry, &mut body).unwrap();
            prop_assert_eq!(everup_release::digest_of(&body), file.sha256.clone());
        }
    }
}

#[test]
fn any_changed_byte_is_noticed_and_nothing_appears() {
    let home = tempfile::tempdir().unwrap();
    let source = home.path().join("source");
    write(&source.join("a.txt"), &b"again ".repeat(50), 0o644);
    write(&source.join("run"), b"#!/bin/sh", 0o755);
    let packed = packed(&source, "7");
    let archive = fs::read(packed.archive.path()).unwrap();
    for at in 0..archive.len() {
        let mut changed = archive.clone();
        changed[at] ^= 1 << (at % 8);
        assert!(unpacked(&packed.manifest, &changed, home.path()).is_err(), "byte {at}");
        assert!(!home.path().join("folder").exists() && !home.path().join("part").exists(), "byte {at}");
    }
}
