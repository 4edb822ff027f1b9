//! The data plane: users' requests to the app that may take them, now, later, or never twice.
//!
//! A proxy is a balancer over slots, each with a gate (`everup_core::gate`) that drains, holds, seals and switches;
//! before a single app it is a balancer of one. It knows nothing of deployments: the keeper and the agents tell it
//! what to do over its control socket ([`control`]).
//!
//! Laws: a request is sent twice only if the app cannot have seen it, or if it may be repeated by its nature; an
//! idle client connection is never closed first; the listening socket outlives every process that serves it; what
//! ends by design, what failed and what nobody knows are counted apart.

mod check;
mod clients;
mod config;
pub mod control;
mod download;
mod flight;
mod gates;
mod handle;
mod headers;
mod hold;
mod io;
mod meter;
mod overdue;
mod own;
mod peer;
mod pool;
mod proxy;
mod run;
mod send;
mod serve;
mod state;
mod succession;
mod tunnel;
mod upload;
mod websocket;

pub use config::{Ask, Check, Config, Role};
pub use run::{Places, RunError, run};
pub use succession::close;
