//! Runs a program with its output passed on line by line, within a deadline.

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{self, Receiver, RecvTimeoutError, Sender};
use std::thread;
use std::time::{Duration, Instant};

/// What is still read once the program has ended: a child that it left may keep the pipe open for ever.
const REST: Duration = Duration::from_secs(1);

/// Where a line came from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Pipe {
    Out,
    Err,
}

enum Event {
    Line(Pipe, String),
    Ended(ExitStatus),
}

/// Runs `command`, prints what it says, and shows each line to `each`. A deadline that passes is an error, and the
/// program is ended.
pub(crate) fn stream(
    command: &mut Command,
    within: Duration,
    mut each: impl FnMut(&str),
) -> Result<ExitStatus, String> {
    apart(command, within, |_, line| each(line))
}

/// The same, where it matters what is data and what is talk.
pub(crate) fn apart(
    command: &mut Command,
    within: Duration,
    mut each: impl FnMut(Pipe, &str),
) -> Result<ExitStatus, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    let child = command.spawn().map_err(|error| format!("{name} could not be started: {error}"))?;
    let pid = child.id();
    let events = listen(child);
    let deadline = Instant::now() + within;
    loop {
        match events.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
            Ok(Event::Line(pipe, line)) => tell(pipe, &line, &mut each),
            Ok(Event::Ended(status)) => {
                rest(&events, &mut each);
                return Ok(status);
            }
            Err(RecvTimeoutError::Timeout) => {
                end(pid);
                return Err(format!("{name} did not end within {} s", within.as_secs()));
            }
            Err(RecvTimeoutError::Disconnected) => return Err(format!("{name} could not be waited for")),
        }
    }
}

fn tell(pipe: Pipe, line: &str, each: &mut impl FnMut(Pipe, &str)) {
    println!("{line}");
    each(pipe, line);
}

fn rest(events: &Receiver<Event>, each: &mut impl FnMut(Pipe, &str)) {
    let deadline = Instant::now() + REST;
    let left = || deadline.saturating_duration_since(Instant::now());
    while let Ok(Event::Line(pipe, line)) = events.recv_timeout(left()) {
        tell(pipe, &line, each);
    }
}

/// A thread for each pipe and one that waits, all telling one channel.
fn listen(mut child: Child) -> Receiver<Event> {
    let (sender, receiver) = mpsc::channel();
    pass_on(Pipe::Out, child.stdout.take(), sender.clone());
    pass_on(Pipe::Err, child.stderr.take(), sender.clone());
    thread::spawn(move || child.wait().map(|status| sender.send(Event::Ended(status))));
    receiver
}

fn pass_on(which: Pipe, pipe: Option<impl Read + Send + 'static>, sender: Sender<Event>) {
    let Some(pipe) = pipe else { return };
    thread::spawn(move || {
        let mut lines = BufReader::new(pipe);
        let mut line = Vec::new();
        while lines.read_until(b'\n', &mut line).is_ok_and(|read| read > 0) {
            let text = String::from_utf8_lossy(&line).trim_end_matches(['\n', '\r']).to_owned();
            line.clear();
            if sender.send(Event::Line(which, text)).is_err() {
                return;
            }
        }
    });
}

/// Asks the program to end; what it leaves behind is found by `leftovers`.
fn end(pid: u32) {
    if let Some(pid) = i32::try_from(pid).ok().and_then(rustix::process::Pid::from_raw) {
        let _ = rustix::process::kill_process(pid, rustix::process::Signal::TERM);
    }
}
