//! The last lines of an output, as a person wants to read them.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{self, Read, Seek, SeekFrom};
use std::path::Path;

/// So many lines are kept for a problem's report.
const LINES: usize = 20;

/// The longest line of a report, in characters.
const LONGEST: usize = 400;

/// Keeps the last lines in memory, so that they are there even when the disk is full.
#[derive(Debug, Default)]
pub struct Tail {
    lines: VecDeque<Vec<u8>>,
    open: bool,
}

impl Tail {
    /// Takes more output.
    pub fn feed(&mut self, bytes: &[u8]) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            if !self.open {
                self.lines.push_back(Vec::new());
                if self.lines.len() > LINES {
                    self.lines.pop_front();
                }
            }
            let line = self.lines.back_mut().expect("a line was opened above, or before");
            // Four bytes are the longest character; escapes may take more, then fewer characters are left.
            let room = (LONGEST * 4).saturating_sub(line.len());
            line.extend_from_slice(&piece[..piece.len().min(room)]);
            self.open = piece.last() != Some(&b'\n');
        }
    }

    /// The last lines, cleaned.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        self.lines.iter().map(|line| clean(line)).collect()
    }
}

/// The last lines of the log at `path`, cleaned; nothing if there is none.
#[must_use]
pub fn last_lines(path: &Path) -> Vec<String> {
    last_lines_from(path, 0)
}

/// The same of what was written behind the first `from` bytes; of all of it if there are fewer, for then the log was
/// rotated since.
#[must_use]
pub fn last_lines_from(path: &Path, from: u64) -> Vec<String> {
    let mut tail = Tail::default();
    tail.feed(&end_of(path, from).unwrap_or_default());
    tail.lines()
}

/// The last bytes of a file, from the beginning of a line if one begins among them.
fn end_of(path: &Path, from: u64) -> io::Result<Vec<u8>> {
    const MOST: u64 = (LINES * LONGEST) as u64;
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    let from = if from > length { 0 } else { from };
    file.seek(SeekFrom::Start(length.saturating_sub(MOST).max(from)))?;
    let mut bytes = Vec::new();
    file.take(MOST).read_to_end(&mut bytes)?;
    let whole = if length - from > MOST {
        bytes.iter().position(|byte| *byte == b'\n').map_or(0, |at| at + 1)
    } else {
        0
    };
    bytes.drain(..whole);
    Ok(bytes)
}

/// One line for people and terminals: no escape sequences, no control characters, no broken text, not too long.
#[must_use]
pub fn clean(line: &[u8]) -> String {
    let text = String::from_utf8_lossy(line);
    let mut out = String::new();
    let mut chars = text.chars().peekable();
    let mut kept = 0;
    while let Some(c) = chars.next() {
        match c {
            '\u{1b}' => skip_escape(&mut chars),
            '\t' => out.push(' '),
            c if c.is_control() => {}
            _ if kept == LONGEST => {
                out.push('…');
                break;
            }
            c => {
                out.push(c);
                kept += 1;
            }
        }
    }
    out
}

/// After ESC: `[` … a letter (colours, cursor), `]` … BEL or ESC `\` (titles, links), else one character.
fn skip_escape(chars: &mut std::iter::Peekable<std::str::Chars<'_>>) {
    match chars.next() {
        Some('[') => {
            chars.find(|c| ('\u{40}'..='\u{7e}').contains(c));
        }
        Some(']') if chars.find(|c| matches!(c, '\u{7}' | '\u{1b}')) == Some('\u{1b}') => {
            chars.next_if_eq(&'\\');
        }
        _ => {}
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escapes_and_controls_are_stripped() {
        assert_eq!(
            clean(b"\x1b[1;31mred\x1b[0m \x1b]0;title\x07and \x1b]8;;http://x\x1b\\link\r\n"),
            "red and link"
        );
        assert_eq!(clean(b"a\tb\x00\x08c \xff"), "a bc \u{fffd}");
        assert_eq!(clean(b"\x1b[").as_str(), "");
        assert_eq!(clean(&[b'x'; 1_000]).chars().count(), LONGEST + 1);
    }

    #[test]
    fn the_last_lines_are_kept_and_memory_is_bounded() {
        let mut tail = Tail::default();
        for n in 0..1_000 {
            tail.feed(format!("line {n}\n").as_bytes());
        }
        tail.feed(b"un");
        tail.feed(b"finished");
        assert_eq!(tail.lines().len(), LINES);
        assert_eq!(tail.lines().last().unwrap(), "unfinished");
        assert_eq!(tail.lines()[LINES - 2], "line 999");
        tail.feed(&vec![b'x'; 10 << 20]);
        assert!(tail.lines.iter().map(Vec::len).sum::<usize>() <= LINES * LONGEST * 4);
    }

    #[test]
    fn the_end_of_a_long_file_begins_with_a_whole_line() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("app.log");
        let text: String = (0..5_000).map(|n| format!("line {n}\n")).collect();
        std::fs::write(&path, text).unwrap();
        let lines = last_lines(&path);
        assert_eq!((lines.len(), lines[LINES - 1].as_str()), (LINES, "line 4999"));
        assert_eq!(last_lines(Path::new("/nowhere")), Vec::<String>::new());
    }
}
