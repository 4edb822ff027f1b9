//! What the process says to whoever started it. These numbers are a promise: none is ever given another meaning.
//! docs/guide/exit-codes.md is the same list, for people.

/// How a command ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
#[repr(u8)]
pub enum Exit {
    /// Done.
    Done = 0,
    /// Something failed that everup has no better word for; a bug, or a machine that refuses.
    Internal = 1,
    /// A wrong argument, a mistake in everup.toml, a release that cannot be used: nothing was changed.
    BadInput = 2,
    /// The deployment went back: the whole fleet is on the release before.
    RolledBack = 3,
    /// The deployment failed and the fleet is mixed; what is not where it should be is named.
    Mixed = 4,
    /// The deployment waits for a person's word: about its migration, or about instances that vanished on their way.
    NeedsOperator = 5,
    /// Done, but the receipt has a hole: nobody can say whether a request failed.
    NotMeasured = 6,
    /// Refused, because another deployment runs.
    Busy = 7,
    /// The deployment goes on without this command.
    StillRunning = 8,
    /// No agent of the fleet answers, or the store does not.
    Unreachable = 9,
    /// Done, but requests failed: the receipt counts them.
    PromiseBroken = 10,
}

impl Exit {
    /// All of them.
    pub const ALL: [Self; 11] = [
        Self::Done,
        Self::Internal,
        Self::BadInput,
        Self::RolledBack,
        Self::Mixed,
        Self::NeedsOperator,
        Self::NotMeasured,
        Self::Busy,
        Self::StillRunning,
        Self::Unreachable,
        Self::PromiseBroken,
    ];

    /// The number.
    #[must_use]
    pub const fn code(self) -> u8 {
        self as u8
    }

    /// A line for the help.
    #[must_use]
    pub const fn meaning(self) -> &'static str {
        match self {
            Self::Done => "done",
            Self::Internal => "an internal failure",
            Self::BadInput => "bad input: nothing was changed",
            Self::RolledBack => "rolled back: the fleet is on the release before",
            Self::Mixed => "failed: the fleet is mixed",
            Self::NeedsOperator => "needs an operator's word: it says about what",
            Self::NotMeasured => "done, but not measured: the receipt has a hole",
            Self::Busy => "refused: another deployment runs",
            Self::StillRunning => "still running: the command detached",
            Self::Unreachable => "unreachable: no agent, or no store, answers",
            Self::PromiseBroken => "done, but requests failed",
        }
    }

    /// The list for the help.
    #[must_use]
    pub fn help() -> String {
        let line = |exit: Self| format!("  {:2}  {}\n", exit.code(), exit.meaning());
        format!("Exit codes:\n{}", Self::ALL.map(line).concat()).trim_end().to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_guide_has_every_code_with_its_meaning() {
        let guide = include_str!("../../../docs/guide/exit-codes.md");
        for exit in Exit::ALL {
            let row = format!("| {} | {} |", exit.code(), exit.meaning());
            assert!(guide.contains(&row), "docs/guide/exit-codes.md lacks {row:?}");
        }
    }
}
