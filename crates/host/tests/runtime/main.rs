//! The process runtime and its minders, with real processes.
#![expect(clippy::unwrap_used, reason = "what a test's own helpers cannot do is the test's failure")]

mod adoption;
mod apps;
mod checks;
mod full_disk;
mod logs;
mod migrations;
mod stops;
mod world;
