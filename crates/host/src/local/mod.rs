//! The local fleet: as many instances of an app as wanted, as processes of this machine, kept by a keeper.
//!
//! The keeper is the fleet's engine: it starts the balancer and one agent an instance, replaces what dies, scales,
//! and says who is in the fleet and who has ended. No request passes through it, and everything goes on without it;
//! a new one adopts what runs. What an instance does is not its business: it only tells one to end.

mod children;
pub mod client;
pub mod files;
pub mod house;
pub mod keeper;
pub mod ledger;
pub mod lock;
pub mod owner;
mod plan;
pub mod ports;
mod retry;
mod server;
pub mod sockets;
pub mod wire;

use crate::settings::{Settings, Store};
use files::Access;

/// Makes the folders of a fleet. What is secret, or obeyed, only its user may enter; an app's user passes to its release
/// and its data.
///
/// # Errors
/// When one cannot be made.
pub fn prepare(settings: &Settings) -> Result<(), files::FileError> {
    files::folder(&settings.state, Access::Pass)?;
    files::folder(&settings.run(), Access::Own)?;
    files::folder(&settings.state.join("instances"), Access::Pass)?;
    match &settings.store {
        Store::Folder(store) if store.starts_with(&settings.state) => files::folder(store, Access::Own),
        _ => Ok(()),
    }
}

/// Makes this process a session of its own: a terminal's signals, and its end, do not reach it. One that leads a
/// process group already cannot, and need not.
pub fn own_session() {
    let _ = rustix::process::setsid();
}

/// Lets a later keeper, which is not this process's parent, take a copy of its listening socket where the kernel
/// allows that to parents only (`kernel.yama.ptrace_scope` = 1). It has to be the same user all the same.
pub fn may_be_adopted() {
    // Where there is no such rule there is nothing to lift.
    let _ = rustix::process::set_ptracer(rustix::process::PTracer::Any);
}
