//! What a person sees: progress is drawn over and over in one place, and is whole when it is left, at any width.

use crate::harness::{Fleet, Program, Setup, Shop, Terminal, left, until};

fn fleet() -> Fleet {
    Shop::serving(&Setup { instances: 3, ..Setup::default() }, &Program::python(), &Program::python())
}

/// How many lines begin with `words`.
fn count(lines: &[String], words: &str) -> usize {
    lines.iter().filter(|line| line.starts_with(words)).count()
}

/// The frame is there once, each instance in a line of its own, and nothing of earlier frames.
#[track_caller]
fn one_frame(fleet: &Fleet, lines: &[String]) {
    let text = lines.join("\n");
    for head in ["local: ", "INSTANCE "] {
        assert_eq!(count(lines, head), 1, "{head:?} in\n{text}");
    }
    for id in fleet.seats().keys() {
        assert_eq!(count(lines, &format!("{id} ")), 1, "{id} in\n{text}");
    }
}

#[track_caller]
fn is_drawn(columns: u16) {
    let fleet = fleet();
    let users = fleet.users();
    let terminal = Terminal::run(&fleet, &["deploy", "2"], columns);
    terminal.shows("the roll", |line| line.starts_with("rolling: 1 > 2"));
    terminal.shows("an instance on its way", |line| line.starts_with('i') && line.contains(" out"));
    let (code, lines) = terminal.ended();
    let text = lines.join("\n");
    assert!([0, 6].contains(&code), "{code}\n{text}");
    one_frame(&fleet, &lines);
    assert_eq!(count(&lines, "succeeded: every instance serves 2"), 1, "{text}");
    assert_eq!(count(&lines, "receipt of "), 1, "{text}");
    users.all_served();
}

#[test]
fn a_deployment_in_80_columns() {
    is_drawn(80);
}

#[test]
fn a_deployment_in_200_columns() {
    is_drawn(200);
}

/// A file, a pipe, CI: one appended line for each thing that happened, and nothing that only a terminal understands.
#[test]
fn a_deployment_in_a_pipe() {
    let fleet = fleet();
    let users = fleet.users();
    let said = fleet.everup(&["deploy", "2"]);
    users.all_served();
    let text = said.err + &said.out;
    assert!([0, 6].contains(&said.code), "{}: {text}", said.code);
    assert!(!text.contains(['\x1b', '\r']), "{text:?}");
    let lines: Vec<String> = text.lines().map(str::to_owned).collect();
    assert!(lines.windows(2).all(|two| two[0] != two[1]), "a line twice in a row: {text}");
    for id in fleet.seats().keys() {
        let arrived = format!("{id}: serving, release 2, in service");
        assert!(count(&lines, &arrived) > 0, "it does not say that {id} arrived: {text}");
    }
    assert_eq!(count(&lines, "INSTANCE "), 0, "a frame: {text}");
    for line in ["deployment ", "succeeded: ", "receipt of "] {
        assert_eq!(count(&lines, line), 1, "{line:?} in {text}");
    }
}

#[test]
fn ctrl_c_leaves_the_frame_as_it_is() {
    let fleet = fleet();
    let mut terminal = Terminal::run(&fleet, &["deploy", "2"], 80);
    terminal.shows("the roll", |line| line.starts_with("rolling: 1 > 2"));
    terminal.keys(b"\x03");
    let (code, lines) = terminal.ended();
    let text = lines.join("\n");
    assert_eq!(code, 8, "{text}");
    one_frame(&fleet, &lines);
    assert!(text.contains("goes on; `everup status --watch` follows it"), "{text}");
    fleet.all_serve(3, "2");
}

/// Whoever does not want to see it after all leaves nothing running, however early.
#[test]
fn ctrl_c_while_the_demo_starts_leaves_nothing() {
    let shop = Shop::new(&Setup::default());
    let mut terminal = Terminal::run(&shop, &["demo"], 100);
    // Two commands, and what has a session of its own by then: the keeper, the balancer, an agent.
    until("the demo's agents", || (left(shop.path()).len() > 6).then_some(()));
    terminal.keys(b"\x03");
    let (code, lines) = terminal.ended();
    assert_eq!(code, 1, "{}", lines.join("\n"));
    assert!(lines.iter().any(|line| line.contains("the demo was ended: Ctrl-C")), "{}", lines.join("\n"));
    assert_eq!(left(shop.path()), Vec::<i32>::new());
}

/// On a busy machine the whole takes longer than any single part of it may.
#[track_caller]
fn tells_its_story(terminal: &Terminal) {
    terminal.shows("the middle of the story", |line| line.contains("an instance is killed"));
    terminal.shows("the end of the story", |line| {
        line.contains("every promise was kept") || line.starts_with("broken promise:")
    });
}

/// Whoever wants to see the story alone has to press nothing.
#[test]
fn the_demo_that_is_told_once_ends_by_itself() {
    let shop = Shop::new(&Setup::default());
    let terminal = Terminal::run(&shop, &["demo", "--once"], 100);
    tells_its_story(&terminal);
    let (code, lines) = terminal.ended();
    assert!([0, 10].contains(&code), "{code}\n{}", lines.join("\n"));
    assert_eq!(left(shop.path()), Vec::<i32>::new());
}

/// It stays up, and says where everything is; Ctrl-C ends it.
#[test]
fn the_demo_stays_until_ctrl_c() {
    let shop = Shop::new(&Setup::default());
    let mut terminal = Terminal::run(&shop, &["demo"], 100);
    tells_its_story(&terminal);
    terminal.shows("the service and the API", |line| {
        line.contains("the service is http://127") && line.contains("the API http://127")
    });
    terminal.shows("how to deploy by hand", |line| line.contains(" deploy 6"));
    terminal.keys(b"\x03");
    let (code, lines) = terminal.ended();
    // Whether it kept its promises on a busy machine is asked by a suite of its own.
    assert!([0, 10].contains(&code), "{code}\n{}", lines.join("\n"));
}
