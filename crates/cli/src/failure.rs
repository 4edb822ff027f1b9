//! Why a command did not do what was wanted: one form for all of them.

use crate::config::ConfigError;
use crate::exit::Exit;
use std::fmt::Display;

/// A command's failure. [`crate::output`] prints it; nobody else does.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Failure {
    /// What was wanted: "release 7 could not be deployed".
    pub wanted: String,
    /// What happened: "there is no release 7".
    pub happened: String,
    /// What to do next.
    pub hint: Option<String>,
    /// What goes before it, as it is: snippets of a file, the last lines of a log.
    pub details: Option<String>,
    /// What the process says.
    pub exit: Exit,
}

impl Failure {
    /// A failure by bad input.
    pub fn input(wanted: impl Into<String>, happened: impl Display) -> Self {
        Self::new(Exit::BadInput, wanted, happened)
    }

    /// Any failure.
    pub fn new(exit: Exit, wanted: impl Into<String>, happened: impl Display) -> Self {
        let (wanted, happened) = (wanted.into(), happened.to_string());
        Self { wanted, happened, hint: None, details: None, exit }
    }

    /// Says what to do next.
    #[must_use]
    pub fn hint(self, hint: impl Into<String>) -> Self {
        Self { hint: Some(hint.into()), ..self }
    }

    /// Puts lines before it.
    #[must_use]
    pub fn details(self, details: impl Into<String>) -> Self {
        Self { details: Some(details.into()), ..self }
    }
}

/// An error with all of its sources, each said once.
#[must_use]
pub fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut next = error.source();
    while let Some(source) = next {
        text = format!("{text}: {source}");
        next = source.source();
    }
    text
}

impl From<ConfigError> for Failure {
    fn from(error: ConfigError) -> Self {
        let failure = Self::input("the settings could not be read", chain(&error));
        match &error {
            ConfigError::Missing(_) => failure.hint(
                "`everup init` writes one for the folder that you are in; --config names another place",
            ),
            ConfigError::Unreadable(..) => failure,
            ConfigError::Broken(broken) => {
                let text = broken.text(crate::output::coloured());
                failure.details(text).hint("nothing was changed; correct the file and try again")
            }
        }
    }
}
