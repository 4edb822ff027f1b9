//! The proxy against real sockets: apps on hyper behind it, and clients that count every answer and repeat nothing.

mod app;
mod client;
mod control;
mod plain;
mod world;
