//! The processes of an instance's app.

mod process;
mod setup;

pub use process::ProcessRuntime;
pub use setup::{Folders, Releases, Setup};
