//! Processes as the kernel shows them in `/proc`.

mod identity;
mod stat;

pub use identity::{Identity, boot_id};
pub use stat::{Stat, all};
