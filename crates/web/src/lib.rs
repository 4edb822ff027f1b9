//! The HTTP side of an agent: its signed API ([`server`]), the client for the CLI and for peers ([`client`],
//! [`peers`]), and the prober that measures the service from outside.
//!
//! It decides nothing: it hands calls to the engine's mailbox, and shows what the engine put on its board.

pub mod client;
pub mod clock;
pub mod keyring;
pub mod library;
pub mod metrics;
pub mod peers;
pub mod prober;
pub mod server;
pub mod signing;
pub mod wire;
