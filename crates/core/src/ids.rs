//! The identities that travel between machines, each a type of its own so that none is taken for another.

use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Why a text cannot be an identity.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{what} {text:?} {problem}")]
pub struct BadId {
    what: &'static str,
    text: String,
    problem: &'static str,
}

/// The longest identity, in bytes: it has to fit a file name (255) with a suffix of ours.
pub const LONGEST_ID: usize = 128;

fn check(what: &'static str, text: &str) -> Result<(), BadId> {
    let problem = if text.is_empty() {
        "is empty"
    } else if text.len() > LONGEST_ID {
        "is longer than 128 bytes"
    } else if !text.bytes().all(|b| b.is_ascii_alphanumeric() || b"._+-".contains(&b)) {
        "may hold only letters, digits, '.', '_', '+' and '-'"
    } else if text.starts_with(['.', '-']) {
        "may not begin with '.' or '-'"
    } else {
        return Ok(());
    };
    Err(BadId { what, text: text.to_owned(), problem })
}

macro_rules! text_ids {
    ($($(#[$doc:meta])* $name:ident = $what:literal;)*) => {$(
        $(#[$doc])*
        ///
        /// Letters, digits, `.`, `_`, `+`, `-`; at most [`LONGEST_ID`] bytes: safe as a file name, in a URL and
        /// in a header.
        #[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[serde(try_from = "String", into = "String")]
        pub struct $name(String);

        impl $name {
            /// Checks `text`.
            ///
            /// # Errors
            /// When it is empty, too long, or holds a character that is not allowed.
            pub fn new(text: impl Into<String>) -> Result<Self, BadId> {
                let text = text.into();
                check($what, &text)?;
                Ok(Self(text))
            }

            /// The text itself.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.pad(&self.0)
            }
        }

        impl FromStr for $name {
            type Err = BadId;
            fn from_str(text: &str) -> Result<Self, BadId> {
                Self::new(text)
            }
        }

        impl TryFrom<String> for $name {
            type Error = BadId;
            fn try_from(text: String) -> Result<Self, BadId> {
                Self::new(text)
            }
        }

        impl From<$name> for String {
            fn from(id: $name) -> Self {
                id.0
            }
        }
    )*};
}

text_ids! {
    /// One deployment; begins with its start, so that names sort by time.
    DeploymentId = "deployment";
    /// An environment of an application: test, acceptance, production.
    Environment = "environment";
    /// One hold of a fleet's gates; a renewal carries the same one.
    HoldId = "hold";
    /// One instance of a fleet; on AWS the EC2 instance's id.
    InstanceId = "instance";
    /// One migration, in the release's manifest; it is applied at most once, whatever is deployed how often.
    MigrationId = "migration";
    /// One start of an app; never used again, so that an answer can be tied to the start it belongs to.
    StartId = "start";
    /// A release's version.
    Version = "version";
    /// Marks one write to the store, so that a writer who is told "lost" recognises its own success.
    WriteId = "write";
    /// An availability zone.
    Zone = "zone";
}

/// Raised by every taking of the lease and every start of a deployment, by a swap of `head.json` alone.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Term(pub u64);

/// Raised by every write of a deployment's record.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(transparent)]
pub struct Rev(pub u64);

/// What an instance compares orders by: nothing of a lower one changes anything.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
pub struct Fence {
    /// The coordinator's term.
    pub term: Term,
    /// The record's revision that decided the order; 0 for a greeting.
    pub rev: Rev,
}

impl Fence {
    /// The lowest fence of `term`: what a greeting leaves behind.
    #[must_use]
    pub const fn greeting(term: Term) -> Self {
        Self { term, rev: Rev(0) }
    }
}

impl Term {
    /// The term after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl Rev {
    /// The revision after this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0 + 1)
    }
}

impl fmt::Display for Fence {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}.{}", self.term.0, self.rev.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_that_could_leave_its_folder_is_refused() {
        for bad in ["", "..", ".hidden", "a/b", "a b", "-rf", "ä", &"x".repeat(129)] {
            assert!(Version::new(bad).is_err(), "{bad:?}");
        }
        for good in ["1", "2026.11.25-rc+7", "v_1"] {
            assert_eq!(Version::new(good).unwrap().as_str(), good);
        }
    }

    #[test]
    fn fences_sort_by_term_first() {
        let fence = |t, r| Fence { term: Term(t), rev: Rev(r) };
        assert!(fence(2, 0) > fence(1, 99) && fence(1, 2) > fence(1, 1));
    }
}
