//! What `publish` works in: nobody else's to enter, and gone when it is over, however that comes.

use crate::harness::{Setup, Shop, signal, until};
use rustix::process::Signal;
use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read};
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

const PUBLISH: [&str; 6] = ["publish", ".", "--version", "1", "--start", "sleep 1"];

fn shop() -> Shop {
    let shop = Shop::new(&Setup { instances: 1, ..Setup::default() });
    shop.write("index.html", "hello");
    shop
}

fn scratch(shop: &Shop) -> Vec<String> {
    let items = fs::read_dir(shop.state()).into_iter().flatten().flatten();
    let names = items.filter_map(|item| item.file_name().into_string().ok());
    names.filter(|name| name.starts_with("publish-")).collect()
}

#[test]
fn nobody_else_enters_the_state_folder_before_the_first_up() {
    let shop = shop();
    shop.everup(&PUBLISH).done();
    assert_eq!(shop.state().metadata().unwrap().permissions().mode() & 0o777, 0o700);
    let doctor = shop.everup(&["doctor"]).out;
    assert!(doctor.contains("read and written by its owner alone"), "{doctor}");
    assert_eq!(scratch(&shop), Vec::<String>::new());
}

/// Of two that are there, one belongs to somebody who lives.
#[test]
fn what_was_killed_is_cleared_up_by_the_next_one() {
    let shop = shop();
    for words in [&PUBLISH[..], &["up", "--detach"]] {
        shop.write(".everup/publish-dead/view/index.html", "hello");
        shop.write(".everup/publish-alive/view/index.html", "hello");
        let lock = File::open(shop.state().join("publish-alive")).unwrap();
        lock.try_lock().unwrap();
        shop.everup(words).done();
        assert_eq!(scratch(&shop), ["publish-alive"], "{words:?}");
        drop(lock);
    }
    shop.everup(&["down"]).done();
}

/// A file that takes long to pack: who waits is told so, and who leaves leaves nothing.
#[track_caller]
fn ends(number: Signal, why: &str) {
    let shop = shop();
    File::create(shop.path().join("large")).unwrap().set_len(12 << 30).unwrap();
    let mut command = shop.within(&["env", "--default-signal=HUP"], &PUBLISH);
    let mut child = command.stdout(Stdio::null()).stderr(Stdio::piped()).spawn().unwrap();
    let mut talk = BufReader::new(child.stderr.take().unwrap());
    let mut first = String::new();
    talk.read_line(&mut first).unwrap();
    assert_eq!(first, "waiting for . to be packed: for as long as reading its files takes\n");
    until("the folder to work in", || (scratch(&shop).len() == 1).then_some(()));
    signal(child.id(), number);
    let mut rest = String::new();
    talk.read_to_string(&mut rest).unwrap();
    assert_eq!(child.wait().unwrap().code(), Some(1), "{rest}");
    assert!(rest.contains(&format!("could not be published as release 1: {why}")), "{rest}");
    assert_eq!(scratch(&shop), Vec::<String>::new());
}

#[test]
fn ctrl_c_while_it_packs() {
    ends(Signal::INT, "Ctrl-C");
}

#[test]
fn it_is_told_to_end_while_it_packs() {
    ends(Signal::TERM, "it was told to end (TERM)");
}
