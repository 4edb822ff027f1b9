//! The demo: its app, its database, and the story that it tells.

pub mod app;
pub mod character;
pub mod database;
