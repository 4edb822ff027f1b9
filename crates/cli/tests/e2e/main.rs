//! End to end: the real binary, real programs, real users who count every answer and never retry. The bar is not one
//! failed request, whatever dies.
//!
//! Each test is a fleet of its own: its folder, its ports, its processes. Nothing waits for time to pass; everything
//! waits for a fact, within a deadline.
#![expect(clippy::unwrap_used, clippy::print_stderr, reason = "these are tests, and their helpers")]

mod harness;
mod life;
mod who;
// A proxy that loses answers: the same as before the store's own tests.
#[path = "../../../cloud/tests/faulty/mod.rs"]
mod faulty;

mod all_at_once;
mod broken;
mod clocks;
mod deaths;
mod first_steps;
mod full_disk;
mod hangup;
mod impostors;
mod input;
mod interruptions;
mod json;
mod newcomers;
mod operators;
mod outage;
mod patience;
mod programs;
mod publishing;
mod read_only;
mod receipts;
mod refusals;
mod rolling;
mod scaling;
mod signatures;
mod steps;
mod stores;
mod story;
mod taken_back;
mod terminal;
mod user;
