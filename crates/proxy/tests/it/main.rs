//! The proxy against real sockets: apps on hyper behind it, and clients that count every answer and repeat nothing.

mod app;
mod balance;
mod client;
mod control;
mod drain;
mod hold;
mod plain;
mod retry;
mod succession;
mod world;
