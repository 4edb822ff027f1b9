//! The only place that prints. stdout is data, stderr is talk; with `--json` the data is JSON, one document, or one
//! a line where something is followed. Escapes are always written and stripped on the way where they are not wanted,
//! so nothing may depend on them to be understood.

pub mod paint;
pub mod place;
pub mod table;

use crate::args::{Colour, Global};
use crate::exit::Exit;
use crate::failure::Failure;
use rustix::event::{PollFd, PollFlags, poll};
use serde::Serialize;
use std::io::{self, IsTerminal, Write};
use std::sync::Arc;
use tokio::sync::Notify;

/// Where a command's words and data go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Out {
    /// Data as JSON.
    pub json: bool,
    /// Somebody watches: progress may be drawn in place.
    pub terminal: bool,
    /// Columns that a line of data may have: none is cut that goes to a file or to another program.
    pub page: usize,
    /// Talk is data as well: it goes to stdout.
    pub aloud: bool,
    /// Nothing is said at all.
    pub quiet: bool,
}

/// The width where nobody can say.
const NARROW: usize = 80;
/// The height where nobody can say.
const LOW: usize = 24;
/// The width of what nobody looks at.
const ENDLESS: usize = 10_000;

impl Out {
    /// Says nothing.
    pub const QUIET: Self = Self { json: false, terminal: false, page: NARROW, aloud: false, quiet: true };

    /// As the global arguments, the environment and the terminal say.
    #[must_use]
    pub fn new(global: &Global) -> Self {
        let choice = match global.color {
            Colour::Auto => anstream::ColorChoice::Auto,
            Colour::Always => anstream::ColorChoice::Always,
            Colour::Never => anstream::ColorChoice::Never,
        };
        choice.write_global();
        Self {
            json: global.json,
            terminal: io::stderr().is_terminal() && !global.json,
            page: if io::stdout().is_terminal() || asked().is_some() { width() } else { ENDLESS },
            aloud: false,
            quiet: false,
        }
    }

    /// For what is followed by a program: what happens is the data.
    #[must_use]
    pub fn following(self) -> Self {
        let piped = !self.json && !io::stdout().is_terminal();
        Self { terminal: self.terminal && !piped, aloud: piped, ..self }
    }

    /// One line or more of data.
    pub fn data(&self, text: impl AsRef<str>) {
        write(&mut anstream::stdout(), text.as_ref());
    }

    /// A document.
    pub fn document(&self, document: &impl Serialize) {
        let text = serde_json::to_string_pretty(document).unwrap_or_else(|error| unserialisable(&error));
        write(&mut anstream::stdout(), &text);
    }

    /// One event of a stream.
    pub fn event(&self, event: &impl Serialize) {
        let text = serde_json::to_string(event).unwrap_or_else(|error| unserialisable(&error));
        write(&mut anstream::stdout(), &text);
    }

    /// Talk.
    pub fn say(&self, text: impl AsRef<str>) {
        match (self.quiet, self.aloud) {
            (true, _) => {}
            (false, true) => write(&mut anstream::stdout(), text.as_ref()),
            (false, false) => write(&mut anstream::stderr(), text.as_ref()),
        }
    }

    /// A document where JSON is wanted, else `text`.
    pub fn either(&self, document: &impl Serialize, text: impl FnOnce() -> String) {
        if self.json { self.document(document) } else { self.data(text()) }
    }

    /// A failure: what was wanted, what happened, what to do next.
    pub fn failure(&self, failure: &Failure) {
        if self.json {
            self.document(&FailureDocument::of(failure));
        }
        self.say(failure_text(failure));
    }
}

/// A failure as JSON: `{"error": {…}}`.
#[derive(Serialize)]
struct FailureDocument<'f> {
    error: FailureFields<'f>,
}

/// What a failure is as JSON, where it is a part of another document.
#[derive(Serialize)]
pub struct FailureFields<'f> {
    wanted: &'f str,
    happened: &'f str,
    details: Option<String>,
    hint: Option<&'f str>,
    exit: u8,
}

impl<'f> FailureDocument<'f> {
    fn of(failure: &'f Failure) -> Self {
        Self { error: FailureFields::of(failure) }
    }
}

impl<'f> FailureFields<'f> {
    /// Of `failure`.
    #[must_use]
    pub fn of(failure: &'f Failure) -> Self {
        let Failure { wanted, happened, hint, exit, details } = failure;
        let details = details.as_ref().map(|text| anstream::adapter::strip_str(text).to_string());
        Self { wanted, happened, details, hint: hint.as_deref(), exit: exit.code() }
    }
}

/// A failure as text.
#[must_use]
pub fn failure_text(failure: &Failure) -> String {
    let Failure { wanted, happened, hint, details, .. } = failure;
    let details = details.as_ref().map(|d| format!("{}\n\n", d.trim_end())).unwrap_or_default();
    let hint = hint.as_ref().map(|h| format!("\n\n{} {h}", paint::hint("hint:"))).unwrap_or_default();
    format!("{details}{} {wanted}: {happened}{hint}", paint::bad("error:"))
}

/// Writes to stderr before there is a context, or without one.
pub fn last_words(failure: &Failure) -> Exit {
    write(&mut anstream::stderr(), &failure_text(failure));
    failure.exit
}

/// Writes a failure to stdout as JSON, before there is a context.
pub fn refused(failure: &Failure) {
    let document = serde_json::to_string_pretty(&FailureDocument::of(failure));
    write(&mut anstream::stdout(), &document.unwrap_or_else(|error| unserialisable(&error)));
}

/// Whether stderr shows colours.
#[must_use]
pub fn coloured() -> bool {
    anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never
}

/// COLUMNS, or the terminal's width as it is now, or 80.
#[must_use]
pub fn width() -> usize {
    let terminal = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    asked().or_else(terminal).filter(|w| *w >= 20).unwrap_or(NARROW)
}

/// The terminal's lines as they are now, or 24.
#[must_use]
pub fn height() -> usize {
    terminal_size::terminal_size().map_or(LOW, |(_, height)| usize::from(height.0))
}

fn asked() -> Option<usize> {
    std::env::var("COLUMNS").ok().and_then(|columns| columns.parse().ok())
}

/// Tells when whoever reads our stdout has left (`everup status --watch | head -n 1`); never, where that is a file. The
/// kernel is waited for on a thread of its own, which ends with the process.
#[must_use]
pub fn reader_left() -> Arc<Notify> {
    let left = Arc::new(Notify::new());
    let tell = Arc::clone(&left);
    std::thread::spawn(move || {
        let mut stdout = [PollFd::from_borrowed_fd(rustix::stdio::stdout(), PollFlags::empty())];
        if poll(&mut stdout, None).is_ok() {
            tell.notify_one();
        }
    });
    left
}

fn unserialisable(error: &serde_json::Error) -> String {
    format!("{{\"error\":{{\"happened\":\"cannot be written as JSON: {error}\"}}}}")
}

/// A reader that has left (`everup history | head`) is no failure of ours.
fn write(to: &mut impl Write, text: &str) {
    let _ = writeln!(to, "{}", text.trim_end_matches('\n'));
    let _ = to.flush();
}
