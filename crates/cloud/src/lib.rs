//! The seams elsewhere than on one machine. Nothing but the command line depends on this crate, and what it brings
//! along (TLS, an HTTP client) is behind features.

#[cfg(feature = "s3")]
pub mod s3;
