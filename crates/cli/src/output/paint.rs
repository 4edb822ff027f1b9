//! Colours, by meaning. Nothing is said by colour alone.

use anstyle::{AnsiColor, Style};
use std::fmt::Display;

fn painted(style: Style, text: impl Display) -> String {
    format!("{style}{text}{style:#}")
}

/// In order.
#[must_use]
pub fn good(text: impl Display) -> String {
    painted(AnsiColor::Green.on_default(), text)
}

/// Out of order.
#[must_use]
pub fn bad(text: impl Display) -> String {
    painted(AnsiColor::Red.on_default().bold(), text)
}

/// On its way.
#[must_use]
pub fn busy(text: impl Display) -> String {
    painted(AnsiColor::Yellow.on_default(), text)
}

/// What to do next.
#[must_use]
pub fn hint(text: impl Display) -> String {
    painted(AnsiColor::Cyan.on_default().bold(), text)
}

/// A title.
#[must_use]
pub fn bold(text: impl Display) -> String {
    painted(Style::new().bold(), text)
}

/// Less important.
#[must_use]
pub fn faint(text: impl Display) -> String {
    painted(Style::new().dimmed(), text)
}
