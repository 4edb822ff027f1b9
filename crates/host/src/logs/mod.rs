//! An app's output: cut into lines of bounded length, rotated, and never a reason for the app to wait.

mod cut;
mod file;
mod tail;
mod writer;

pub use cut::{Cutter, LONGEST_LINE};
pub use file::{Capped, Rotated, Sink};
pub use tail::{Tail, clean, last_lines, last_lines_from};
pub use writer::Writer;
