//! Runs the command: its environment, its user, its output.

use super::watch::unblocked;
use super::{Charge, MARK};
use nix::unistd::User;
use std::io::{self, PipeReader};
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};

/// Runs what is charged; returns its main process and the end of the pipe that it writes to.
pub(super) fn spawn(charge: &Charge) -> Result<(Child, PipeReader), String> {
    let cannot = |what: &str, error: io::Error| format!("{what}: {error}");
    let (reader, writer) = io::pipe().map_err(|error| cannot("no pipe for its output", error))?;
    let copy = writer.try_clone().map_err(|error| cannot("no pipe for its output", error))?;
    let mut command = command(charge)?;
    command.stdin(Stdio::null()).stdout(writer).stderr(copy);
    let folder = charge.folder.display();
    let spawned = unblocked(|| command.spawn()).and_then(|spawned| spawned);
    let child = spawned.map_err(|error| cannot(&format!("/bin/sh cannot be run in {folder}"), error))?;
    spare_the_minder(child.id());
    Ok((child, reader))
}

fn command(charge: &Charge) -> Result<Command, String> {
    let mut command = Command::new("/bin/sh");
    command.arg("-c").arg(&charge.command).current_dir(&charge.folder).process_group(0);
    for (name, _) in std::env::vars_os().filter(|(name, _)| ours(&name.to_string_lossy())) {
        command.env_remove(name);
    }
    if let Some(name) = &charge.user {
        become_user(&mut command, name)?;
    }
    command.envs(&charge.env).env(MARK, charge.start.as_str());
    Ok(command)
}

/// Variables that are meant for everup itself: those of a service manager would make an app speak in our name.
fn ours(name: &str) -> bool {
    name.starts_with("EVERUP_")
        || name.starts_with("LISTEN_FD")
        || ["LISTEN_PID", "NOTIFY_SOCKET"].contains(&name)
}

/// Makes `command` run as the user `name`, without any of our supplementary groups: the standard library drops
/// them when it changes the user.
pub(crate) fn become_user(command: &mut Command, name: &str) -> Result<(), String> {
    let found =
        User::from_name(name).map_err(|error| format!("the user {name} cannot be looked up: {error}"))?;
    let user = found
        .ok_or_else(|| format!("there is no user {name} on this machine: create it, or change `user`"))?;
    command.uid(user.uid.as_raw()).gid(user.gid.as_raw());
    command.env("USER", name).env("LOGNAME", name).env("HOME", &user.dir);
    Ok(())
}

/// Out of memory, the kernel shall take the app rather than us: an app inherits our protection, and loses it here.
fn spare_the_minder(child: u32) {
    let own = std::fs::read_to_string("/proc/self/oom_score_adj").unwrap_or_default();
    if own.starts_with('-') {
        // Without it only the order in which the kernel takes them is worse.
        let _ = std::fs::write(format!("/proc/{child}/oom_score_adj"), "0");
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_managers_variables_stay_with_us() {
        for name in ["EVERUP_KEY", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PID", "NOTIFY_SOCKET"] {
            assert!(ours(name), "{name}");
        }
        assert!(!ours("PATH") && !ours("LISTEN_ADDRESS"));
    }
}
