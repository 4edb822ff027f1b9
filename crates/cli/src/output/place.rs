//! Lines on a terminal that are drawn over again in one place, each frame in one piece.
//!
//! By hand: a progress bar's library rests its cursor at the right edge, where the `^C` that a terminal echoes wraps
//! into a line of its own, and the next frame is drawn one line too low. Here the cursor rests below the frame.
//!
//! A `^C` may also be echoed between two lines of a frame, and takes with it what the terminal had not shown yet. So each
//! line begins at the left edge, and the last frame is drawn once more before it is left.

use super::{coloured, height};
use everup_core::words;
use std::io::{self, Write};

/// Where the frames are.
#[derive(Debug, Default)]
pub struct Place {
    frame: Vec<String>,
}

/// Empties the line, from its left edge. Before it is written: after a line of the full width some terminals would take its
/// last letter.
const CLEAR_LINE: &str = "\r\x1b[2K";
/// Empties all lines from the cursor on.
const CLEAR_BELOW: &str = "\r\x1b[J";

impl Place {
    /// Draws `frame` over the last one. No line of it may be wider than the terminal.
    pub fn draw(&mut self, frame: Vec<String>) {
        let frame = fit(frame, height());
        write(&format!("{}{}", self.top(), text(&frame)));
        self.frame = frame;
    }

    /// Says something above the frame.
    pub fn say(&self, words: impl FnOnce()) {
        write(&format!("{}{CLEAR_BELOW}", self.top()));
        words();
        write(&text(&self.frame));
    }

    /// What follows is written below the frame, which stays.
    pub fn leave(&mut self) {
        if !self.frame.is_empty() {
            write(&format!("{}{}", self.top(), text(&self.frame)));
        }
        self.frame.clear();
    }

    /// The cursor to the frame's first line.
    fn top(&self) -> String {
        match self.frame.len() {
            0 => "\r".to_owned(),
            lines => format!("\r\x1b[{lines}A"),
        }
    }
}

fn text(frame: &[String]) -> String {
    let lines = frame.iter().map(|line| format!("{CLEAR_LINE}{line}\n"));
    lines.chain([CLEAR_BELOW.to_owned()]).collect()
}

/// A cursor cannot go up to a line that has scrolled away.
fn fit(mut frame: Vec<String>, height: usize) -> Vec<String> {
    let room = height.saturating_sub(1).max(1);
    if frame.len() > room {
        let more = frame.len() - (room - 1);
        frame.truncate(room - 1);
        frame.push(format!("and {}, for which this terminal is not high enough", words::count(more, "line")));
    }
    frame
}

/// Moves of the cursor are wanted on every terminal, colours are not.
fn write(text: &str) {
    let text = if coloured() { text.to_owned() } else { without_colours(text) };
    let mut terminal = io::stderr().lock();
    let _ = terminal.write_all(text.as_bytes()).and_then(|()| terminal.flush());
}

fn without_colours(text: &str) -> String {
    let mut pieces = text.split("\x1b[");
    let mut plain = pieces.next().unwrap_or_default().to_owned();
    for piece in pieces {
        let end = piece.find(|c: char| c.is_ascii_alphabetic()).unwrap_or(0);
        match piece.split_at_checked(end + 1) {
            Some((escape, rest)) if escape.ends_with('m') => plain.push_str(rest),
            _ => plain = plain + "\x1b[" + piece,
        }
    }
    plain
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_has_no_room_is_counted() {
        let frame: Vec<String> = (0..10).map(|line| line.to_string()).collect();
        assert_eq!(fit(frame.clone(), 11), frame);
        let short = fit(frame, 5);
        assert_eq!((short.len(), short[2].as_str()), (4, "2"));
        assert!(short[3].starts_with("and 7 lines"), "{}", short[3]);
    }

    /// Wherever a terminal echoes `^C` while a frame is written, each line is whole.
    #[test]
    fn an_echo_between_two_lines_leaves_them_whole() {
        let frame: Vec<String> = ["shop: 3 of 3 in service", "", "i1  a  serving"].map(str::to_owned).into();
        let written = text(&frame).replace('\n', "\r\n");
        let ends: Vec<usize> = written.match_indices('\n').map(|(at, _)| at + 1).chain([0]).collect();
        for at in ends {
            let mut screen = vt100::Parser::new(10.try_into().unwrap(), 40.try_into().unwrap(), 0);
            screen.process([&written[..at], "^C", &written[at..]].concat().as_bytes());
            let shown: Vec<String> =
                screen.screen().rows(0, 40).map(|line| line.trim_end().to_owned()).collect();
            assert_eq!(&shown[..4], [frame[0].as_str(), "", frame[2].as_str(), ""], "echoed at {at}");
        }
    }

    #[test]
    fn colours_go_and_moves_stay() {
        assert_eq!(without_colours("\r\x1b[3A\x1b[1;32mgood\x1b[0m\x1b[K\n"), "\r\x1b[3Agood\x1b[K\n");
    }
}
