//! The pure middle of everup: what a deployment is, who may do what, and what happens next.
//!
//! Nothing in this crate reads a clock, a file, the network or a random number: all of it is handed in, so
//! that every decision can be replayed from what was known when it was made. The traits through which the
//! rest of the product touches the world are in [`seams`]; the only place that decides what a fleet does next
//! is [`plan`].

pub mod deployment;
pub mod fleet;
pub mod gate;
pub mod head;
pub mod ids;
pub mod instance;
pub mod order;
pub mod plan;
pub mod policy;
pub mod receipt;
pub mod record;
pub mod release;
pub mod seams;
pub mod status;
pub mod time;
pub mod words;
