//! One machine: the seams made real on its disk, with its processes.

pub mod adopt;
pub mod clock;
pub mod disk;
pub mod health;
pub mod held;
pub mod journal;
pub mod local;
pub mod logs;
pub mod minder;
pub mod proc;
pub mod runtime;
pub mod settings;
pub mod stage;
pub mod store;
