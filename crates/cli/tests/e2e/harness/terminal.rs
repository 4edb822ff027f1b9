//! A terminal in which a command runs, and what a person would see on it.

use super::{Shop, until};
use rustix::fs::{Mode, OFlags, open};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{Winsize, tcsetwinsize};
use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::process::{Child, Command};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;

/// Lines on the screen: enough that nothing scrolls away.
const LINES: u16 = 60;

/// A screen, a keyboard, and the command.
pub(crate) struct Terminal {
    keyboard: File,
    screen: Arc<Mutex<vt100::Parser>>,
    reader: JoinHandle<()>,
    closed: Arc<AtomicBool>,
    child: Child,
}

impl Terminal {
    /// Runs the binary in a terminal of its own that is `columns` wide.
    pub(crate) fn run(shop: &Shop, words: &[&str], columns: u16) -> Self {
        let near = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&near).unwrap();
        unlockpt(&near).unwrap();
        tcsetwinsize(&near, Winsize { ws_row: LINES, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }).unwrap();
        let far = ptsname(&near, Vec::new()).unwrap();
        let far =
            File::from(open(far, OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC, Mode::empty()).unwrap());
        let ours = shop.command(words);
        // Only the one whose terminal it is gets its Ctrl-C.
        let mut command = Command::new("setsid");
        command
            .args(["--ctty", "--wait"])
            .arg(ours.get_program())
            .args(ours.get_args())
            .current_dir(shop.path());
        for (name, value) in ours.get_envs() {
            value.map(|value| command.env(name, value));
        }
        command.env_remove("COLUMNS").env("TERM", "xterm-256color");
        command.stdin(far.try_clone().unwrap()).stdout(far.try_clone().unwrap()).stderr(far);
        let child = command.spawn().unwrap();
        drop(command);
        let near = File::from(near);
        let screen = Arc::new(Mutex::new(vt100::Parser::new(size(LINES), size(columns), 0)));
        let closed = Arc::new(AtomicBool::new(false));
        let reader = std::thread::spawn({
            let (mut output, screen) = (near.try_clone().unwrap(), Arc::clone(&screen));
            let closed = Arc::clone(&closed);
            move || {
                let mut bytes = [0; 4_096];
                // The end is told as an error: nobody has the other side open any more.
                while let Ok(n @ 1..) = output.read(&mut bytes) {
                    if closed.load(Ordering::SeqCst) {
                        return;
                    }
                    screen.lock().unwrap().process(&bytes[..n]);
                }
            }
        });
        Self { keyboard: near, screen, reader, closed, child }
    }

    /// What can be read on it now, a string a line.
    pub(crate) fn lines(&self) -> Vec<String> {
        lines(&self.screen)
    }

    /// Waits until some line on it is as `wanted`.
    #[track_caller]
    pub(crate) fn shows(&self, what: &str, wanted: impl Fn(&str) -> bool) {
        until(what, || self.lines().iter().any(|line| wanted(line)).then_some(()));
    }

    /// Presses keys.
    pub(crate) fn keys(&mut self, keys: &[u8]) {
        self.keyboard.write_all(keys).unwrap();
    }

    /// Closes it, as a window is closed, or a connection lost; the command that runs on.
    pub(crate) fn close(mut self) -> Child {
        self.closed.store(true, Ordering::SeqCst);
        // Its echo is the last that is read.
        self.keys(b"\n");
        self.reader.join().unwrap();
        self.child
    }

    /// Waits for the command's end; its exit code, and what it leaves on the screen.
    #[track_caller]
    pub(crate) fn ended(mut self) -> (i32, Vec<String>) {
        let status = until("the command's end", || self.child.try_wait().unwrap());
        self.reader.join().unwrap();
        (status.code().unwrap_or(-1), lines(&self.screen))
    }
}

fn size(n: u16) -> NonZeroU16 {
    NonZeroU16::new(n).unwrap()
}

fn lines(screen: &Mutex<vt100::Parser>) -> Vec<String> {
    let screen = screen.lock().unwrap();
    let (_, columns) = screen.screen().size();
    let mut lines: Vec<_> =
        screen.screen().rows(0, columns.get()).map(|line| line.trim_end().to_owned()).collect();
    while lines.last().is_some_and(String::is_empty) {
        lines.pop();
    }
    lines
}
