//! Tables for a person: columns as wide as their widest cell. Where the terminal is too narrow, the last one is
//! shortened, then columns that can be spared are left out, then whichever is widest is shortened, but never the first:
//! that is what a line is called by.

use std::fmt::Write;

/// A cell: what it says, and how it looks.
#[derive(Debug, Clone)]
pub struct Cell {
    text: String,
    paint: fn(String) -> String,
}

impl Cell {
    /// A plain one.
    pub fn new(text: impl Into<String>) -> Self {
        Self { text: text.into(), paint: |text| text }
    }

    /// A coloured one.
    pub fn painted(text: impl Into<String>, paint: fn(String) -> String) -> Self {
        Self { text: text.into(), paint }
    }
}

/// Lines of cells below a title each.
#[derive(Debug)]
pub struct Table {
    titles: Vec<&'static str>,
    spared: &'static [&'static str],
    rows: Vec<Vec<Cell>>,
}

/// Between two columns.
const GAP: usize = 2;
/// The last column says why: it stays as wide while others can give.
const NARROWEST_LAST: usize = 10;
/// Narrower than this nothing can be read.
const NARROWEST: usize = 5;

impl Table {
    /// An empty one.
    #[must_use]
    pub fn new(titles: &[&'static str]) -> Self {
        Self { titles: titles.to_vec(), spared: &[], rows: Vec::new() }
    }

    /// These columns are left out, the first of them first, where there is no room for all.
    #[must_use]
    pub const fn sparing(mut self, titles: &'static [&'static str]) -> Self {
        self.spared = titles;
        self
    }

    /// Adds a line.
    pub fn row(&mut self, cells: Vec<Cell>) {
        self.rows.push(cells);
    }

    /// The table as text of at most `width` columns.
    #[must_use]
    pub fn text(&self, width: usize) -> String {
        let widths = self.widths(width);
        let titles =
            self.titles.iter().map(|title| Cell::painted(*title, super::paint::faint)).collect::<Vec<_>>();
        let mut text = line(&titles, &widths);
        for row in &self.rows {
            text.push_str(&line(row, &widths));
        }
        text
    }

    /// The widths of the columns; 0 for one that is left out.
    fn widths(&self, width: usize) -> Vec<usize> {
        let of = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|c| c.text.chars().count());
            cells.chain([self.titles[column].chars().count()]).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = (0..self.titles.len()).map(of).collect();
        let full = widths.last().copied().unwrap_or(0);
        fit_last(&mut widths, full, width);
        for spared in self.spared.iter().filter_map(|title| self.titles.iter().position(|t| t == title)) {
            if taken(&widths) > width {
                widths[spared] = 0;
                fit_last(&mut widths, full, width);
            }
        }
        while taken(&widths) > width {
            match widths.iter_mut().skip(1).max_by_key(|w| **w).filter(|w| **w > NARROWEST) {
                Some(widest) => *widest -= 1,
                None => break,
            }
        }
        widths
    }
}

/// Gives the last column, which has text of `full`, what the others leave of `width`.
fn fit_last(widths: &mut [usize], full: usize, width: usize) {
    if let Some((last, others)) = widths.split_last_mut() {
        let left = width.saturating_sub(taken(others) + GAP);
        *last = full.min(left.max(NARROWEST_LAST));
    }
}

/// Columns of the terminal that a line takes.
fn taken(widths: &[usize]) -> usize {
    widths.iter().filter(|w| **w > 0).map(|w| w + GAP).sum::<usize>().saturating_sub(GAP)
}

fn line(cells: &[Cell], widths: &[usize]) -> String {
    let mut line = String::new();
    for (i, (cell, width)) in cells.iter().zip(widths).enumerate().filter(|(_, (_, width))| **width > 0) {
        let text = shorten(&cell.text, *width);
        let fill = if i + 1 == widths.len() { 0 } else { width + GAP - text.chars().count() };
        let _ = write!(line, "{}{:fill$}", (cell.paint)(text), "");
    }
    format!("{}\n", line.trim_end())
}

/// At most `width` characters of `text`, with an ellipsis if some are missing. Control characters are shown as
/// spaces: what an app wrote must not move a cursor.
#[must_use]
pub fn shorten(text: &str, width: usize) -> String {
    let clean = text.chars().map(|c| if c.is_control() { ' ' } else { c });
    if text.chars().count() <= width {
        return clean.collect();
    }
    clean.take(width.saturating_sub(1)).chain(['…']).collect()
}

/// Columns of an app's line that are shown.
const LONGEST: usize = 200;

/// A line that an app wrote, on a page of `width`.
#[must_use]
pub fn quoted(line: &str, width: usize) -> String {
    const MARK: &str = "  | ";
    format!("{MARK}{}", shorten(line, width.min(LONGEST).saturating_sub(MARK.len())))
}

/// What a name of letters and a number is sorted by: i7 stands before i10.
#[must_use]
pub fn by_number(name: &str) -> (&str, u64) {
    let letters = name.trim_end_matches(|c: char| c.is_ascii_digit());
    match name[letters.len()..].parse() {
        Ok(number) if letters.chars().all(|c| c.is_ascii_alphabetic()) => (letters, number),
        _ => (name, 0),
    }
}

/// `text` in lines of `width`, broken at spaces where there are any; what follows the first line stands two columns
/// further in.
#[must_use]
pub fn wrap(text: &str, indent: &str, width: usize) -> Vec<String> {
    let mut lines = vec![indent.to_owned()];
    for word in text.split_whitespace() {
        let line = lines.last_mut().expect("there is always one");
        if line.len() == indent.len() {
            line.push_str(&shorten(word, width.saturating_sub(indent.len())));
        } else if line.chars().count() + 1 + word.chars().count() <= width {
            line.push(' ');
            line.push_str(word);
        } else {
            lines.push(format!("{indent}  {}", shorten(word, width.saturating_sub(indent.len() + 2))));
        }
    }
    lines
}

#[cfg(test)]
mod tests {
    use super::*;

    fn table() -> Table {
        let mut table = Table::new(&["DEPLOYMENT", "HELD", "GAP", "WHY"]).sparing(&["HELD", "GAP"]);
        let row = ["d1a2131a12b7-bd5af9", "1234", "15 ms", "every instance serves it"];
        table.row(row.map(Cell::new).to_vec());
        table
    }

    #[test]
    fn names_are_sorted_by_their_number() {
        let mut names = ["i10", "i7", "web-2", "i", "web-10", "i1"];
        names.sort_by_key(|name| by_number(name));
        assert_eq!(names, ["i", "i1", "i7", "i10", "web-10", "web-2"]);
    }

    #[test]
    fn a_quoted_line_has_room_for_its_mark() {
        for width in [60, 80] {
            let line = quoted(&"x".repeat(120), width);
            assert_eq!(line.chars().count(), width, "{line}");
        }
        assert_eq!(quoted("all of it", 80), "  | all of it");
    }

    #[test]
    fn a_narrow_terminal_costs_reasons_then_columns_but_never_a_name() {
        let last = |width| table().text(width).lines().last().unwrap().to_owned();
        assert_eq!(last(80), "d1a2131a12b7-bd5af9  1234  15 ms  every instance serves it");
        assert_eq!(last(50), "d1a2131a12b7-bd5af9  1234  15 ms  every instance …");
        assert_eq!(last(40), "d1a2131a12b7-bd5af9  15 ms  every insta…");
        assert_eq!(last(30), "d1a2131a12b7-bd5af9  every in…");
        for width in [24, 30, 40, 50, 80] {
            let text = anstream::adapter::strip_str(&table().text(width)).to_string();
            assert!(text.lines().all(|line| line.chars().count() <= width.max(26)), "{text}");
        }
    }
}
