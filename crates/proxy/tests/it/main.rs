//! The proxy against real sockets: apps on hyper behind it, and clients that count every answer and repeat nothing.

mod control;
mod world;
