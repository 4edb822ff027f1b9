//! The commands, one file a noun. Each has its `Args` and a `run` that reads like what the command does.

pub mod agent;
pub mod demo;
pub mod demo_app;
pub mod deploy;
pub mod doctor;
pub mod down;
pub mod history;
pub mod init;
pub mod keys;
pub mod minder;
pub mod proxy;
pub mod publish;
pub mod rollback;
pub mod scale;
pub mod status;
pub mod up;
pub mod versions;
pub mod word;

use crate::config::kinds;
use everup_core::time::{Millis, Wall};

/// "30s" on the command line.
fn span(text: &str) -> Result<Millis, String> {
    kinds::span(text).map_err(|_| "expected a span of time such as 500ms, 30s or 5min".to_owned())
}

/// A moment, for people: "2026-11-25 09:30:05".
fn time(at: Wall) -> String {
    let moment = i64::try_from(at.0).ok().and_then(|ms| jiff::Timestamp::from_millisecond(ms).ok());
    let local = moment.map(|moment| moment.to_zoned_datetime(jiff::tz::TimeZone::system()));
    local.map_or("-".to_owned(), |local| local.strftime("%Y-%m-%d %H:%M:%S").to_string())
}
