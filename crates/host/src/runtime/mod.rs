//! The processes of an instance's app: started under minders, found again after a restart, checked, ended whole.

mod arrivals;
mod check;
mod launch;
mod process;
mod run;
mod setup;
mod wait;

pub use process::ProcessRuntime;
pub use setup::{Folders, Releases, Setup};
