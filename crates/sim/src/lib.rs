//! A world of a seed: the product's own engine over seams that are simulated, on virtual time, with faults.
//!
//! Nothing here decides what a fleet does; the engine and the planner do, and this crate watches them. What it does
//! not simulate: bytes of requests, sockets, files and processes; those have tests of their own against the real
//! thing.

mod accident;
mod chaos;
pub mod conformance;
mod executor;
mod fault;
mod judge;
mod moment;
mod operators;
mod report;
mod rng;
mod rules;
mod run;
pub mod script;
mod seams;
mod setting;
mod trace;
mod users;
mod world;

pub use accident::{Accident, run_accident};
pub use report::Report;
pub use rules::Broken;
pub use run::{Outcome, run, tell};
