//! How a proxy is told what to do: its Unix socket, and the client for it.
//!
//! The socket is 0600, and who connects must be the same user, or root. [`Client`] is for the keeper, [`SlotGate`]
//! for an instance's engine.

mod client;
mod gate;
pub(crate) mod server;
mod wire;

pub use client::{Client, ControlError};
pub use gate::SlotGate;
pub use wire::{Behind, Hello, NewSlot, SlotState, Slots};
pub(crate) use wire::{Command, Reply};
