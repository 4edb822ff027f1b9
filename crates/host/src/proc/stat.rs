//! `/proc/PID/stat`.

use super::{Identity, boot_id};
use std::fmt;
use std::fs::{self, File};
use std::io::Read;

/// What is used of `/proc/PID/stat`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stat {
    /// Its number.
    pub pid: u32,
    /// Its short name, which it may have given itself.
    pub name: String,
    /// Running, sleeping, zombie…: the kernel's letter.
    pub state: char,
    /// Its parent's number.
    pub parent: u32,
    /// Its session's number: that of the process that made the session.
    pub session: u32,
    /// When it started, in clock ticks since boot.
    pub started: u64,
}

/// 52 numbers of at most 20 digits, and a name of 16 bytes, fit.
const LINE: usize = 1_200;

impl Stat {
    /// Reads that of `pid`; nothing if there is no such process.
    #[must_use]
    pub fn read(pid: u32) -> Option<Self> {
        // One read: the kernel makes the line in one piece, and all processes are looked at often.
        let mut line = [0; LINE];
        let read = File::open(format!("/proc/{pid}/stat")).ok()?.read(&mut line).ok()?;
        Self::parse(&String::from_utf8_lossy(&line[..read]))
    }

    /// The name stands in brackets and may itself hold brackets, blanks and newlines: the last bracket ends it.
    fn parse(text: &str) -> Option<Self> {
        let (pid, rest) = text.split_once(" (")?;
        let (name, rest) = rest.rsplit_once(") ")?;
        let fields: Vec<&str> = rest.split_ascii_whitespace().collect();
        let number = |field: usize| fields.get(field)?.parse().ok();
        Some(Self {
            pid: pid.trim().parse().ok()?,
            name: name.to_owned(),
            state: fields.first()?.chars().next()?,
            parent: fields.get(1)?.parse().ok()?,
            session: fields.get(3)?.parse().ok()?,
            // Field 22 of the manual page; the third is the first after the name.
            started: number(19)?,
        })
    }

    /// Who exactly it is.
    #[must_use]
    pub fn identity(&self) -> Identity {
        Identity { pid: self.pid, started: self.started, boot: boot_id().to_owned() }
    }

    /// Whether it runs; not so when only its exit status is left.
    #[must_use]
    pub const fn lives(&self) -> bool {
        !matches!(self.state, 'Z' | 'X' | 'x')
    }
}

/// Every process of the machine that lives.
#[must_use]
pub fn all() -> Vec<Stat> {
    let Ok(entries) = fs::read_dir("/proc") else { return Vec::new() };
    let pids = entries.flatten().filter_map(|entry| entry.file_name().to_str()?.parse().ok());
    pids.filter_map(Stat::read).filter(Stat::lives).collect()
}

/// "`node` (pid 42)", for messages.
#[must_use]
pub fn name_of(pid: u32) -> String {
    Stat::read(pid).map_or_else(|| format!("pid {pid}"), |stat| stat.to_string())
}

impl fmt::Display for Stat {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "`{}` (pid {})", self.name, self.pid)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_may_hold_brackets_and_blanks() {
        let line = "42 (a) R (b) S 7 42 41 0 -1 0 0 0 0 0 1 2 3 4 20 0 1 0 128528 0 0\n";
        let stat = Stat::parse(line).unwrap();
        assert_eq!((stat.name.as_str(), stat.state, stat.parent, stat.session), ("a) R (b", 'S', 7, 41));
        assert_eq!(stat.started, 128_528);
        assert_eq!(Stat::parse("42 (cut off"), None);
    }

    #[test]
    fn this_process_is_among_all() {
        let me = std::process::id();
        let stat = all().into_iter().find(|stat| stat.pid == me).unwrap();
        assert_eq!(Some(stat.started), Stat::read(me).map(|stat| stat.started));
    }
}
