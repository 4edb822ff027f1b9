//! Every wait says what it is for, of whom and until when, has an end, and can be left.

use crate::harness::{Fleet, Program, Said, Setup, Shop, freeze, is_root, signal, until};
use rustix::process::Signal;
use serde_json::Value;
use std::fs;
use std::io::{BufRead, BufReader, Read, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// A command under way, and what it said so far.
struct Asking {
    child: Child,
    out: Pipe,
    err: Pipe,
}

struct Pipe(Arc<Mutex<String>>, JoinHandle<()>);

impl Pipe {
    fn of(mut from: impl Read + Send + 'static) -> Self {
        let text = Arc::<Mutex<String>>::default();
        let told = Arc::clone(&text);
        let read = move || {
            let mut bytes = [0; 4_096];
            while let Ok(n @ 1..) = from.read(&mut bytes) {
                told.lock().unwrap().push_str(&String::from_utf8_lossy(&bytes[..n]));
            }
        };
        Self(text, std::thread::spawn(read))
    }

    fn so_far(&self) -> String {
        self.0.lock().unwrap().clone()
    }

    fn whole(self) -> String {
        self.1.join().unwrap();
        self.0.lock().unwrap().clone()
    }
}

impl Asking {
    fn begin(mut command: Command) -> Self {
        let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (out, err) = (Pipe::of(child.stdout.take().unwrap()), Pipe::of(child.stderr.take().unwrap()));
        Self { child, out, err }
    }

    /// Waits until it says `words` on stderr.
    #[track_caller]
    fn says(&self, words: &str) {
        until(words, || self.err.so_far().contains(words).then_some(()));
    }

    fn interrupt(&self) {
        signal(self.child.id(), Signal::INT);
    }

    fn ended(mut self) -> Said {
        let code = self.child.wait().unwrap().code().unwrap_or(-1);
        Said { code, out: self.out.whole(), err: self.err.whole() }
    }
}

/// Head, which no agent can read until this is dropped: who tries waits for its disk.
struct StuckHead {
    object: PathBuf,
    name: PathBuf,
}

impl StuckHead {
    const STUCK: &str = ".is-stuck";

    fn of(fleet: &Fleet) -> Self {
        let object = fleet.state().join("store/local/head.json");
        let pipe = object.join("stuck.body");
        assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
        let name = || names(&object).into_iter().find(|path| is_name(path));
        let name = until("head's name to stay", || {
            let name = name()?;
            fs::rename(&name, object.join(Self::STUCK)).ok().map(|()| name)
        });
        Self { object, name }
    }
}

impl Drop for StuckHead {
    fn drop(&mut self) {
        fs::rename(self.object.join(Self::STUCK), &self.name).unwrap();
        let pipe = self.object.join("stuck.body");
        // Whoever still reads it finds it empty.
        let writer = fs::OpenOptions::new().read(true).write(true).open(&pipe).unwrap();
        drop(writer);
        fs::remove_file(pipe).unwrap();
    }
}

fn names(folder: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).into_iter().flatten().filter_map(Result::ok);
    entries.map(|entry| entry.path()).collect()
}

fn is_name(path: &Path) -> bool {
    path.file_name().is_some_and(|name| name.to_string_lossy().starts_with(".is-"))
}

/// The agent has been asked to begin, and has not answered: it may have begun.
#[test]
fn ctrl_c_before_the_answer_detaches_and_says_how_to_find_out() {
    let fleet =
        Shop::serving(&Setup { instances: 1, ..Setup::default() }, &Program::python(), &Program::python());
    for words in [&["deploy", "2"][..], &["deploy", "2", "--json"]] {
        let stuck = StuckHead::of(&fleet);
        let asking = Asking::begin(fleet.command(words));
        asking.says("waiting for the agent at 127.0.0.1:");
        asking.interrupt();
        let said = asking.ended().ended(8);
        drop(stuck);
        if words.contains(&"--json") {
            let event: Value = serde_json::from_str(&said.out).unwrap();
            assert_eq!(event, serde_json::json!({ "event": "detached", "deployment": null, "to": "2" }));
        } else {
            assert_eq!(said.out, "");
        }
        said.says(&["release 2 may have begun", "`everup status` says whether it has"]);
    }
}

#[test]
fn ctrl_c_after_it_is_an_event_too() {
    let fleet =
        Shop::serving(&Setup { instances: 2, ..Setup::default() }, &Program::python(), &Program::python());
    let (said, id) = fleet.begin(&["2"]).interrupted();
    let said = said.ended(8);
    let last: Value = serde_json::from_str(said.out.lines().last().unwrap()).unwrap();
    assert_eq!(last, serde_json::json!({ "event": "detached", "deployment": id, "to": "2" }));
    fleet.ended(&id).succeeded_somehow();
}

/// Whom it waits for, and until when; and it goes on as soon as one answers.
#[test]
fn agents_that_hang_are_named() {
    let fleet =
        Shop::serving(&Setup { instances: 2, ..Setup::default() }, &Program::python(), &Program::python());
    let agents: Vec<u32> = fleet.seats().keys().map(|id| fleet.agent(id)).collect();
    let addresses = fleet.seats().into_values().map(|seat| seat.block().api().to_string());
    let addresses: Vec<String> = addresses.collect();
    for words in [&["versions"][..], &["status"], &["deploy", "2"], &["abort"]] {
        agents.iter().for_each(|agent| freeze(*agent));
        let asking = Asking::begin(fleet.command(words));
        asking.says("to answer, for at most ");
        let err = asking.err.so_far();
        assert!(addresses.iter().any(|address| err.contains(address)), "{words:?}: {err}");
        agents.iter().for_each(|agent| signal(*agent, Signal::CONT));
        let said = asking.ended();
        assert_eq!(
            said.code,
            if words == ["abort"] { 2 } else { 0 },
            "{words:?}: {}\n{}",
            said.out,
            said.err
        );
    }
}

/// One that is followed and hangs later: it is named, and another is followed.
#[test]
fn an_agent_that_falls_silent_is_left_for_another() {
    let fleet =
        Shop::serving(&Setup { instances: 3, ..Setup::default() }, &Program::python(), &Program::python());
    let followed = fleet.seats().into_keys().next().unwrap();
    let address = fleet.seats()[&followed].block().api().to_string();
    let mut asking = Asking::begin(fleet.command(&["status", "--watch", "--json"]));
    let events = |asking: &Asking| asking.out.so_far().lines().count();
    until("the first events", || (events(&asking) > 0).then_some(()));
    let agent = fleet.agent(&followed);
    freeze(agent);
    asking.says(&address);
    asking.says("its events fell silent for 3s");
    asking.says("asking another agent");
    // What happens from now on is told by another.
    fleet.everup(&["scale", "4"]).done();
    until("the newcomer", || asking.out.so_far().contains("\"i4\"").then_some(()));
    signal(agent, Signal::CONT);
    asking.interrupt();
    asking.child.wait().unwrap();
}

#[test]
fn a_keeper_that_hangs_is_named() {
    let fleet = Shop::new(&Setup { instances: 1, ..Setup::default() }).up();
    for (words, code) in [
        (&["versions"][..], 0),
        (&["status", "--json"], 0),
        (&["scale", "1"], 0),
        (&["doctor"], 2),
        (&["up"], 7),
        (&["down"], 0),
    ] {
        freeze(fleet.keeper.id());
        let asking = Asking::begin(fleet.command(words));
        asking.says("waiting for the keeper to answer, for at most 29 s");
        signal(fleet.keeper.id(), Signal::CONT);
        asking.ended().ended(code);
    }
}

/// A bucket that has nothing: what is looked for in it is answered, and all else never.
fn bucket_that_hangs() -> String {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let endpoint = format!("http://{}", listener.local_addr().unwrap());
    let answer = |mut stream: TcpStream| {
        let head = BufReader::new(stream.try_clone().unwrap()).lines().map_while(Result::ok);
        let head: Vec<String> = head.take_while(|line| !line.is_empty()).collect();
        if head[0].starts_with("PUT") || head[0].contains("list-type") {
            std::thread::park();
        }
        let nothing = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
        stream.write_all(nothing.as_bytes()).unwrap();
    };
    std::thread::spawn(move || {
        for stream in listener.incoming().map_while(Result::ok) {
            std::thread::spawn(move || answer(stream));
        }
    });
    endpoint
}

#[test]
fn a_store_that_hangs_is_named() {
    if !cfg!(feature = "s3") {
        return;
    }
    let mut shop = Shop::new(&Setup::default());
    shop.keep_in_s3("shop", &bucket_that_hangs());
    shop.write("release/everup.release.toml", "[start]\ncommand = \"true\"\n");
    let begin = |words: &[&str]| {
        let mut command = shop.command(words);
        command.env("AWS_ACCESS_KEY_ID", "id").env("AWS_SECRET_ACCESS_KEY", "secret");
        Asking::begin(command)
    };
    let asking = [(&["history"][..], 9), (&["versions"], 9), (&["doctor"], 2)];
    let asking = asking.map(|(words, code)| (begin(words), code));
    let publishing = begin(&["publish", "release", "--version", "1"]);
    let store = format!("the store s3://shop/{}", shop.path().file_name().unwrap().to_str().unwrap());
    for (asking, code) in asking {
        asking.says(&format!("waiting for {store} to answer, for at most 9 s"));
        asking.ended().ended(code);
    }
    publishing.says(&format!("waiting for {store} to take "));
    publishing.says(": for as long as some of it arrives every 120 s");
    publishing.interrupt();
    publishing.ended();
}

/// What is only said, or is found out elsewhere as well, is waited for in words, too.
#[test]
fn a_disk_that_hangs_is_named() {
    let fleet =
        Shop::serving(&Setup { instances: 1, ..Setup::default() }, &Program::python(), &Program::python());
    let stuck = StuckHead::of(&fleet);
    let asking = Asking::begin(fleet.command(&["rollback"]));
    asking.says(&format!("waiting for the store {} to answer, for at most 9 s", fleet.store().display()));
    asking.interrupt();
    asking.ended();
    let asking = Asking::begin(fleet.command(&["down"]));
    asking.says("waiting for the store to answer, for at most 1 s");
    asking.says("requests inside it have 5 s, then its apps 3 s to stop; what is left after 28 s is killed");
    drop(stuck);
    asking.ended().done();
}

#[test]
fn what_a_fleet_in_the_foreground_waits_for_is_said() {
    let shop = Shop::new(&Setup { instances: 1, ..Setup::default() });
    let keeper = Asking::begin(shop.keeper());
    keeper.says("its instances have 30 s to be there, and 20 s to serve what was deployed; Ctrl-C ends it");
    keeper.says("the service  http://");
    keeper.interrupt();
    keeper.says(
        "requests inside it have 5 s, then its apps 3 s to stop, 31 s in all at most; Ctrl-C once more",
    );
    keeper.ended().done();
}

/// What an answer takes the prober has to wait for.
#[test]
fn the_receipt_is_waited_for_in_words() {
    let shop = Shop::new(&Setup { instances: 1, deploy: "overlap = true", ..Setup::default() });
    shop.append("[prober]\npath = \"/slow\"\n");
    shop.publish("1", &Program::app());
    shop.publish("2", &Program::app());
    let fleet = shop.up();
    fleet.deploy(&["1"]);
    let said = fleet.everup(&["deploy", "2"]);
    assert!([0, 6, 10].contains(&said.code), "{}\n{}", said.code, said.err);
    assert!(said.out.contains("receipt of "), "{}", said.out);
    said.says(&["waiting for the receipt, for at most 29 s"]);
}

/// A machine on which no instance finds a port: `up --detach` is over within its time, and says why.
#[test]
fn up_without_a_port_for_anybody_ends_and_says_why() {
    if !is_root() {
        return;
    }
    let shop = Shop::new(&Setup { instances: 2, ..Setup::default() });
    // In a network of its own, where the kernel takes all ports that instances could have.
    let alone = "echo 20000 65535 > /proc/sys/net/ipv4/ip_local_port_range && exec \"$0\" \"$@\"";
    let command = shop.within(&["unshare", "--net", "sh", "-c", alone], &["up", "--detach", "--json"]);
    let said = Shop::run(command).ended(1);
    let error = serde_json::from_str::<Value>(&said.out).unwrap()["error"].clone();
    assert_eq!(error["happened"], "only 0 of 2 instances are there after 30 s", "{error:#}");
    assert!(error["details"].as_str().unwrap().contains("no block of 8 free ports"), "{error:#}");
    assert!(error["hint"].as_str().unwrap().contains("`everup down` ends it"), "{error:#}");
    shop.everup(&["down"]).done();
}
