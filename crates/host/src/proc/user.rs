//! Who runs this process, and who could.

use nix::unistd::{Uid, User};

/// The name of this process's user, or its number if it has none ("uid 1000").
#[must_use]
pub fn user() -> String {
    let uid = Uid::effective();
    let named = User::from_uid(uid).ok().flatten();
    named.map_or_else(|| format!("uid {uid}"), |user| user.name)
}

/// Whether the machine has a user of that name, as far as it can be asked.
#[must_use]
pub fn is_user(name: &str) -> bool {
    !matches!(User::from_name(name), Ok(None))
}
