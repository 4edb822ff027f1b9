//! Releases: from a source to the store and back, and what wants out of an archive.
#![expect(clippy::unwrap_used, reason = "a test stops at the first surprise")]

mod common;
mod hostile;
mod properties;
mod publish;
