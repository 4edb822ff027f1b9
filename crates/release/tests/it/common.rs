//! What the tests of this crate share: a shelf in memory, trees on disk, archives made by hand.

use everup_core::ids::Version;
use everup_core::release::Manifest;
use everup_core::seams::{Etag, Got, Store, StoreError, Wrote};
use everup_core::time::Wall;
use everup_release::pack::{Draft, Packed, pack};
use everup_release::shelf::Shelf;
use everup_release::unpack::{self, UnpackError};
use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::fs::{self, File, Permissions};
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// A store in memory, which can lose an answer.
#[derive(Debug, Default)]
pub(crate) struct Memory {
    pub(crate) objects: RefCell<BTreeMap<String, Vec<u8>>>,
    /// The next creation is carried out and reported as lost.
    pub(crate) lose_answer: Cell<bool>,
    /// What somebody else stores just before the next creation.
    pub(crate) rival: RefCell<BTreeMap<String, Vec<u8>>>,
}

impl Store for Memory {
    async fn get(&self, key: &str, _: Option<&Etag>) -> Result<Got, StoreError> {
        let body = self.objects.borrow().get(key).cloned();
        Ok(body.map_or(Got::Missing, |body| Got::Found { etag: Etag("unused".into()), body }))
    }
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        Ok(self.objects.borrow().keys().filter(|key| key.starts_with(prefix)).cloned().collect())
    }
    async fn create(&self, key: &str, body: Vec<u8>) -> Result<Wrote, StoreError> {
        self.objects.borrow_mut().extend(self.rival.take());
        if self.objects.borrow().contains_key(key) {
            return Ok(Wrote::Lost);
        }
        self.objects.borrow_mut().insert(key.into(), body);
        if self.lose_answer.take() { Ok(Wrote::Lost) } else { Ok(Wrote::Done(Etag("unused".into()))) }
    }
    async fn replace(&self, _: &str, _: &Etag, _: Vec<u8>) -> Result<Wrote, StoreError> {
        Ok(Wrote::Lost)
    }
}

impl Shelf for Memory {
    async fn put(&self, key: &str, from: &Path) -> Result<(), StoreError> {
        self.objects.borrow_mut().insert(key.into(), fs::read(from).unwrap());
        Ok(())
    }
    async fn read(&self, key: &str, offset: u64, length: usize) -> Result<Option<Vec<u8>>, StoreError> {
        let objects = self.objects.borrow();
        Ok(objects.get(key).map(|body| body.iter().skip(offset as usize).take(length).copied().collect()))
    }
    async fn size(&self, key: &str) -> Result<Option<u64>, StoreError> {
        Ok(self.objects.borrow().get(key).map(|body| body.len() as u64))
    }
    async fn delete(&self, key: &str) -> Result<(), StoreError> {
        self.objects.borrow_mut().remove(key);
        Ok(())
    }
}

pub(crate) fn run<T>(work: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().build().unwrap().block_on(work)
}

pub(crate) fn version(text: &str) -> Version {
    Version::new(text).unwrap()
}

pub(crate) fn draft(text: &str) -> Draft {
    Draft::new(version(text), Wall(1_000))
}

/// Packs `source` in a folder beside it.
pub(crate) fn packed(source: &Path, text: &str) -> Packed {
    pack(source, draft(text), source.parent().unwrap()).unwrap()
}

pub(crate) fn write(path: &Path, body: &[u8], mode: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    fs::write(path, body).unwrap();
    fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
}

/// A small release: text, a program, noise, an empty file, an empty folder, a link.
pub(crate) fn sample(root: &Path) {
    write(&root.join("index.html"), &b"<p>hello</p>\n".repeat(100), 0o644);
    write(&root.join("bin/run"), b"#!/bin/sh\n", 0o755);
    write(&root.join("lib/deep/er/z\u{fc}rich.txt"), "gr\u{fc}\u{df}e".as_bytes(), 0o640);
    write(&root.join("empty"), b"", 0o600);
    fs::create_dir_all(root.join("cache/tmp")).unwrap();
    symlink("../lib/deep", root.join("bin/link")).unwrap();
}

/// All that is below `root`: for each path its mode, and what it holds. Folders count only when they are empty.
pub(crate) fn tree(root: &Path) -> BTreeMap<String, (u32, Vec<u8>)> {
    let mut found = BTreeMap::new();
    let mut folders = vec![(root.to_owned(), String::new())];
    while let Some((folder, prefix)) = folders.pop() {
        let items: Vec<_> = fs::read_dir(&folder).unwrap().map(Result::unwrap).collect();
        if items.is_empty() && !prefix.is_empty() {
            found.insert(prefix.clone(), (0o040_755, vec![]));
        }
        for item in items {
            let (path, name) = (item.path(), format!("{prefix}{}", item.file_name().to_str().unwrap()));
            let meta = path.symlink_metadata().unwrap();
            let mode = meta.permissions().mode();
            if meta.is_dir() {
                folders.push((path, format!("{name}/")));
            } else if meta.is_symlink() {
                found.insert(
                    name,
                    (0o120_777, fs::read_link(&path).unwrap().into_os_string().into_encoded_bytes()),
                );
            } else {
                found.insert(name, (mode, fs::read(&path).unwrap()));
            }
        }
    }
    found
}

/// Unpacks `archive` below `home`, as an agent does.
pub(crate) fn unpacked(manifest: &Manifest, archive: &[u8], home: &Path) -> Result<(), UnpackError> {
    unpack::into_place(manifest, archive, &home.join("part"), &home.join("folder"))
}

/// One entry of an archive that is made by hand: name, unix mode with its type bits, bytes (or a link's target).
pub(crate) type Entry<'a> = (&'a [u8], u32, &'a [u8]);

/// A zip of stored entries, with whatever names and modes one likes.
pub(crate) fn zip(path: &Path, entries: &[Entry<'_>]) {
    let (mut out, mut directory) = (Vec::new(), Vec::new());
    for (name, mode, body) in entries {
        let mut crc = flate2::Crc::new();
        crc.update(body);
        let mut common = Vec::new();
        for short in [20_u16, 1 << 11, 0, 0, 0x21] {
            common.extend(short.to_le_bytes());
        }
        for word in [crc.sum(), body.len() as u32, body.len() as u32] {
            common.extend(word.to_le_bytes());
        }
        common.extend((name.len() as u16).to_le_bytes());
        common.extend([0, 0]);
        directory.extend(b"PK\x01\x02\x1e\x03");
        directory.extend(&common);
        directory.extend([0; 6]);
        directory.extend((mode << 16).to_le_bytes());
        directory.extend((out.len() as u32).to_le_bytes());
        directory.extend(*name);
        out.extend(b"PK\x03\x04");
        out.extend(&common);
        out.extend(*name);
        out.extend(*body);
    }
    let start = out.len() as u32;
    out.extend(&directory);
    out.extend(b"PK\x05\x06\0\0\0\0");
    out.extend((entries.len() as u16).to_le_bytes());
    out.extend((entries.len() as u16).to_le_bytes());
    out.extend((directory.len() as u32).to_le_bytes());
    out.extend(start.to_le_bytes());
    out.extend([0, 0]);
    fs::write(path, out).unwrap();
}

/// One entry of a tar that is made by hand: name, type, mode, link's target, bytes.
pub(crate) type TarEntry<'a> = (&'a str, tar::EntryType, u32, &'a str, &'a [u8]);

/// A tar with whatever entries one likes.
pub(crate) fn tar(path: &Path, entries: &[TarEntry<'_>]) {
    let mut builder = tar::Builder::new(File::create(path).unwrap());
    for (name, kind, mode, target, body) in entries {
        let mut header = tar::Header::new_ustar();
        // Written by hand: the library refuses names that climb.
        header.as_old_mut().name[..name.len()].copy_from_slice(name.as_bytes());
        header.as_old_mut().linkname[..target.len()].copy_from_slice(target.as_bytes());
        header.set_entry_type(*kind);
        header.set_mode(*mode);
        header.set_size(body.len() as u64);
        header.set_cksum();
        builder.append(&header, *body).unwrap();
    }
    builder.into_inner().unwrap();
}

/// The same bytes, by gzip.
pub(crate) fn gzip(from: &Path, to: &Path) {
    let mut out = flate2::write::GzEncoder::new(File::create(to).unwrap(), flate2::Compression::fast());
    out.write_all(&fs::read(from).unwrap()).unwrap();
    out.finish().unwrap();
}
