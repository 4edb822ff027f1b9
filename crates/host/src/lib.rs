//! One machine: the seams made real on its disk, with its processes.

pub mod settings;
