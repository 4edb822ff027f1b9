//! Lines of bounded length, out of whatever bytes come.

/// The longest line that is kept, in bytes.
pub const LONGEST_LINE: usize = 16 << 10;

/// Cuts lines that are too long: their beginning stays, the rest is left out and counted where it was.
#[derive(Debug, Default)]
pub struct Cutter {
    length: usize,
    left_out: u64,
}

impl Cutter {
    /// Appends what is kept of `bytes` to `out`.
    pub fn feed(&mut self, bytes: &[u8], out: &mut Vec<u8>) {
        for piece in bytes.split_inclusive(|byte| *byte == b'\n') {
            let (text, ends) = match piece.split_last() {
                Some((b'\n', text)) => (text, true),
                _ => (piece, false),
            };
            let kept = text.len().min(LONGEST_LINE - self.length);
            out.extend_from_slice(&text[..kept]);
            self.length += kept;
            self.left_out += (text.len() - kept) as u64;
            if ends {
                self.end_line(out);
            }
        }
    }

    /// The end of all output: ends a line that was begun.
    pub fn finish(&mut self, out: &mut Vec<u8>) {
        if self.length > 0 {
            self.end_line(out);
        }
    }

    fn end_line(&mut self, out: &mut Vec<u8>) {
        if self.left_out > 0 {
            out.extend_from_slice(format!(" [everup: {} more bytes in this line]", self.left_out).as_bytes());
        }
        out.push(b'\n');
        (self.length, self.left_out) = (0, 0);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn cut(pieces: &[&[u8]]) -> Vec<u8> {
        let (mut cutter, mut out) = (Cutter::default(), Vec::new());
        for piece in pieces {
            cutter.feed(piece, &mut out);
        }
        cutter.finish(&mut out);
        out
    }

    #[test]
    fn short_lines_pass_as_they_are_however_they_arrive() {
        assert_eq!(cut(&[b"one\ntw", b"o\n", b"", b"\n\xff\x00\n"]), b"one\ntwo\n\n\xff\x00\n");
        assert_eq!(cut(&[b"no end"]), b"no end\n");
        assert_eq!(cut(&[]), b"");
    }

    #[test]
    fn a_long_line_is_cut_once_and_the_next_one_is_whole() {
        let long = vec![b'x'; 100 << 10];
        let out = cut(&[&long, &long, b"\nnext\n"]);
        let text = String::from_utf8(out).unwrap();
        let (first, rest) = text.split_once('\n').unwrap();
        assert!(first.starts_with(&"x".repeat(LONGEST_LINE)) && first.len() < LONGEST_LINE + 60);
        assert!(
            first.ends_with(&format!("[everup: {} more bytes in this line]", (200 << 10) - LONGEST_LINE))
        );
        assert_eq!(rest, "next\n");
    }
}
