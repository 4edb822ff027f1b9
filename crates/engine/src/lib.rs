//! The decisions in motion: the coordinator and the instance's own procedure, as async functions over the seams
//! of `everup_core::seams`, without a runtime, a file or a clock of their own.

pub mod bugs;
pub mod coordinator;
pub mod identity;
pub mod instance;
pub mod mailbox;
mod object;
pub mod prober;
