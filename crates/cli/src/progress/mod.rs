//! What a person sees of a deployment while it runs. [`event`] finds what changed between two statuses, [`frame`]
//! draws one status, [`lines`] tells what matters of the changes, [`screen`] puts each where it belongs; none of them asks anybody anything.

pub mod document;
pub mod event;
pub mod frame;
pub mod lines;
pub mod receipt;
pub mod screen;
