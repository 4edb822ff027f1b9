//! The only place that prints. stdout is data, stderr is talk; with `--json` the data is JSON, one document, or one
//! a line where something is followed. Escapes are always written and stripped on the way where they are not wanted,
//! so nothing may depend on them to be understood.

pub mod paint;
pub mod table;

use crate::args::{Colour, Global};
use crate::exit::Exit;
use crate::failure::Failure;
use serde::Serialize;
use std::io::{self, IsTerminal, Write};

/// Where a command's words and data go.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Out {
    /// Data as JSON.
    pub json: bool,
    /// Somebody watches: progress may be drawn in place.
    pub terminal: bool,
    /// Columns that a line may have.
    pub width: usize,
    /// Nothing is said at all.
    pub quiet: bool,
}

/// The width where nobody can say.
const NARROW: usize = 80;

impl Out {
    /// Says nothing.
    pub const QUIET: Self = Self { json: false, terminal: false, width: NARROW, quiet: true };

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
            width: width(),
            quiet: false,
        }
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
        if self.quiet {
            return;
        }
        write(&mut anstream::stderr(), text.as_ref());
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

#[derive(Serialize)]
struct FailureFields<'f> {
    wanted: &'f str,
    happened: &'f str,
    hint: Option<&'f str>,
    exit: u8,
}

impl<'f> FailureDocument<'f> {
    fn of(failure: &'f Failure) -> Self {
        let Failure { wanted, happened, hint, exit, .. } = failure;
        Self { error: FailureFields { wanted, happened, hint: hint.as_deref(), exit: exit.code() } }
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

/// Whether stderr shows colours.
#[must_use]
pub fn coloured() -> bool {
    anstream::AutoStream::choice(&io::stderr()) != anstream::ColorChoice::Never
}

/// The terminal's width, or COLUMNS, or 80.
fn width() -> usize {
    let asked = std::env::var("COLUMNS").ok().and_then(|c| c.parse().ok());
    let terminal = || terminal_size::terminal_size().map(|(width, _)| usize::from(width.0));
    let width = asked.or_else(terminal);
    width.filter(|w| *w >= 20).unwrap_or(NARROW)
}

fn unserialisable(error: &serde_json::Error) -> String {
    format!("{{\"error\":{{\"happened\":\"cannot be written as JSON: {error}\"}}}}")
}

/// A reader that has left (`everup history | head`) is no failure of ours.
fn write(to: &mut impl Write, text: &str) {
    let _ = writeln!(to, "{}", text.trim_end_matches('\n'));
    let _ = to.flush();
}
