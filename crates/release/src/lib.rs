//! The release format: from a folder or an archive of somebody's build to a verified folder on an instance.
//!
//! The way out: [`pack`](pack::pack) turns a source into an ordinary zip and a manifest,
//! [`publish`](publish::publish) stores both, the manifest last. The way in: [`catalog`] finds and checks a
//! manifest, [`unpack`](unpack::into_place) makes a folder of it, all or nothing. Laws:
//!
//! - A version is its bytes. Nothing is ever stored under it a second time that differs.
//! - What is unpacked is what the manifest says, byte for byte, and nothing that it does not say.
//! - Names, links, modes and sizes are judged by [`names`] alone, on the way out as on the way in.
//!
//! All but [`publish`](mod@publish), [`catalog`] and [`retention`] blocks on the disk: call it off the runtime's thread.

pub mod catalog;
pub mod check;
pub mod config;
mod digest;
pub mod disk;
pub mod layout;
pub mod names;
pub mod pack;
pub mod publish;
pub mod retention;
pub mod shelf;
mod source;
pub mod unpack;
pub mod verify;
mod zipfile;

pub use digest::{of as digest_of, of_file as digest_of_file};
