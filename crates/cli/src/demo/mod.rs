//! The demo: its app, its database, its stage, and the story that it tells.

pub mod app;
pub mod character;
pub mod database;
pub mod report;
pub mod stage;
pub mod story;
