//! The proxy against real sockets: apps on hyper behind it, and clients that count every answer and repeat nothing.
#![expect(clippy::unwrap_used, reason = "a test that cannot go on has failed")]

mod app;
mod balance;
mod check;
mod client;
mod control;
mod crowd;
mod drain;
mod hold;
mod http2;
mod idle;
mod plain;
mod retry;
mod succession;
mod trailers;
mod two_hops;
mod upload;
mod world;
