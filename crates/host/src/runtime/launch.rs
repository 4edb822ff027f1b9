//! Starts a minder and waits for its answer.

use crate::minder::{Answer, Charge, for_minder, lock_of};
use crate::proc::Identity;
use rustix::process::Signal;
use std::ffi::OsString;
use std::io::{self, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;
use tokio::io::AsyncReadExt;
use tokio::process::ChildStdout;
use tokio::time::timeout;

/// A minder answers within so long, or is given up: it only has to fork.
const ANSWER: Duration = Duration::from_secs(30);

/// Starts a minder for `charge` and waits for its answer. `keep` gets the minder at once, to reap it when it ends,
/// also if nobody waits for the answer any more.
///
/// # Errors
/// When it cannot be started, or does not answer.
pub(super) async fn launch(
    program: &[OsString],
    name: &str,
    charge: &Charge,
    keep: impl FnOnce(Child),
) -> io::Result<Answer> {
    let (child, stdout) = spawn(program, name, charge)?;
    let minder = Identity::of(child.id());
    keep(child);
    match timeout(ANSWER, read_answer(stdout)).await {
        Ok(answer) => answer,
        Err(_) => {
            // What it may have started is found without its minder, and ended as such.
            minder.map(|minder| minder.signal(Signal::KILL));
            Err(io::Error::other(format!("the minder did not answer within {} s", ANSWER.as_secs())))
        }
    }
}

fn spawn(
    program: &[OsString],
    name: &str,
    charge: &Charge,
) -> io::Result<(Child, std::process::ChildStdout)> {
    let (first, rest) =
        program.split_first().ok_or_else(|| io::Error::other("no program is set for minders"))?;
    let cannot =
        |error| io::Error::other(format!("{} cannot be locked: {error}", lock_of(&charge.state).display()));
    let lock = for_minder(&charge.state).map_err(cannot)?;
    let mut command = Command::new(first);
    command.args(rest).arg(name).arg(charge.start.as_str());
    command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(lock);
    let mut child = command.spawn()?;
    let mut stdin = child.stdin.take().expect("it was piped");
    let bytes = serde_json::to_vec(charge).expect("a charge has only text keys");
    // A minder that died before it read says more by its missing answer.
    let _ = stdin.write_all(&bytes);
    let stdout = child.stdout.take().expect("it was piped");
    Ok((child, stdout))
}

/// One line, and nothing after it: a minder keeps its output open for as long as it lives.
async fn read_answer(stdout: std::process::ChildStdout) -> io::Result<Answer> {
    let mut stdout = ChildStdout::from_std(stdout)?;
    let mut line = Vec::new();
    while line.last() != Some(&b'\n') {
        if line.len() > 64 << 10 || stdout.read_buf(&mut line).await? == 0 {
            return Err(io::Error::other("the minder ended without an answer"));
        }
    }
    serde_json::from_slice(&line).map_err(io::Error::other)
}
