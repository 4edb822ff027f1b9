//! What a test runner's closing lines count.

use std::ops::AddAssign;

/// How many passed and failed.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
}

impl Counts {
    /// A check that is one thing.
    pub(crate) fn one(passed: bool) -> Self {
        Self { passed: u64::from(passed), failed: u64::from(!passed) }
    }

    /// Takes in a line of output, if it is a closing line of cargo test or of nextest.
    pub(crate) fn read(&mut self, line: &str) {
        let words: Vec<_> = line.split_whitespace().collect();
        let cargo_test = line.starts_with("test result:");
        let nextest = words.first() == Some(&"Summary") && line.contains(" run:");
        if cargo_test || nextest {
            self.passed += before(&words, "passed");
            self.failed += before(&words, "failed") + before(&words, "timed");
        }
    }
}

/// The number that stands before `word`.
fn before(words: &[&str], word: &str) -> u64 {
    let at = words.iter().position(|found| found.trim_end_matches([',', ';', ')']) == word);
    let number = at.and_then(|at| words.get(at.checked_sub(1)?));
    number.and_then(|number| number.parse().ok()).unwrap_or(0)
}

impl AddAssign for Counts {
    fn add_assign(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed += other.failed;
    }
}

#[cfg(test)]
mod tests {
    use super::Counts;

    fn read(line: &str) -> (u64, u64) {
        let mut counts = Counts::default();
        counts.read(line);
        (counts.passed, counts.failed)
    }

    #[test]
    fn the_closing_lines_of_both_runners_are_counted() {
        assert_eq!(
            read("test result: ok. 12 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out"),
            (12, 0)
        );
        assert_eq!(read("test result: FAILED. 3 passed; 2 failed; 0 ignored; finished in 0.10s"), (3, 2));
        assert_eq!(read("     Summary [   1.531s] 9 tests run: 9 passed (1 slow), 0 skipped"), (9, 0));
        assert_eq!(
            read("     Summary [   1.5s] 9 tests run: 6 passed, 2 failed, 1 timed out, 0 skipped"),
            (6, 3)
        );
        assert_eq!(read("        PASS [   0.010s] everup::load one_dropped_request"), (0, 0));
    }
}
