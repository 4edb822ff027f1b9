//! Processes as the kernel shows them in `/proc`: who lives, who descends from whom, who listens where.

mod diag;
mod holders;
mod identity;
mod memory;
mod sockets;
mod stat;
mod tree;
mod user;

pub use holders::{Holder, holders, opened};
pub use identity::{Identity, boot_id};
pub use memory::memory_allows_overlap;
pub use sockets::{Listener, is_socket, listeners, listening_on, sockets_of};
pub use stat::{Stat, all, name_of};
pub use tree::{below, in_tree, marked};
pub use user::{is_user, user};
