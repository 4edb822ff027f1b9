//! What a release of the demo's app is like: `demo.conf` in its folder, one `key=value` a line.

use std::path::Path;
use std::time::Duration;

/// The file's name.
pub const FILE: &str = "demo.conf";

/// What a release is like.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Character {
    /// The schema that it needs.
    pub schema: u32,
    /// From its start to its first accepted connection.
    pub start: Duration,
    /// What is wrong with it.
    pub flaw: Flaw,
}

/// What can be wrong with a release.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Flaw {
    /// Nothing.
    None,
    /// It serves, and its health check fails.
    NeverHealthy,
    /// It exits at once.
    ExitsAtOnce,
    /// It exits two seconds after its start.
    Dies,
}

impl Default for Character {
    fn default() -> Self {
        Self { schema: 1, start: Duration::from_millis(300), flaw: Flaw::None }
    }
}

impl Character {
    /// As the release in `folder` says.
    ///
    /// # Errors
    /// When its file cannot be read, or has a line that is not understood.
    pub fn of(folder: &Path) -> Result<Self, String> {
        let path = folder.join(FILE);
        let text = std::fs::read_to_string(&path).map_err(|e| format!("{}: {e}", path.display()))?;
        text.lines().try_fold(Self::default(), Self::line)
    }

    fn line(self, line: &str) -> Result<Self, String> {
        let bad = || format!("{FILE} has a line {line:?}");
        match line.split_once('=').ok_or_else(bad)? {
            ("schema", number) => Ok(Self { schema: number.parse().map_err(|_| bad())?, ..self }),
            ("start_ms", ms) => {
                Ok(Self { start: Duration::from_millis(ms.parse().map_err(|_| bad())?), ..self })
            }
            ("flaw", "never-healthy") => Ok(Self { flaw: Flaw::NeverHealthy, ..self }),
            ("flaw", "exits-at-once") => Ok(Self { flaw: Flaw::ExitsAtOnce, ..self }),
            ("flaw", "dies") => Ok(Self { flaw: Flaw::Dies, ..self }),
            _ => Err(bad()),
        }
    }
}
