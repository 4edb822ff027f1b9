//! Who runs this process.

use nix::unistd::{Uid, User};

/// The name of this process's user, or its number if it has none ("uid 1000").
#[must_use]
pub fn user() -> String {
    let uid = Uid::effective();
    let named = User::from_uid(uid).ok().flatten();
    named.map_or_else(|| format!("uid {uid}"), |user| user.name)
}
