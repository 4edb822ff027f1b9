//! Tables for a person: columns as wide as their widest cell; where the terminal is too narrow, the last one is
//! shortened.

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
    rows: Vec<Vec<Cell>>,
}

/// Between two columns.
const GAP: usize = 2;

impl Table {
    /// An empty one.
    #[must_use]
    pub fn new(titles: &[&'static str]) -> Self {
        Self { titles: titles.to_vec(), rows: Vec::new() }
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

    fn widths(&self, width: usize) -> Vec<usize> {
        let of = |column: usize| {
            let cells = self.rows.iter().filter_map(|row| row.get(column)).map(|c| c.text.chars().count());
            cells.chain([self.titles[column].chars().count()]).max().unwrap_or(0)
        };
        let mut widths: Vec<usize> = (0..self.titles.len()).map(of).collect();
        if let Some((last, others)) = widths.split_last_mut() {
            let taken: usize = others.iter().map(|w| w + GAP).sum();
            *last = (*last).min(width.saturating_sub(taken).max(10));
        }
        widths
    }
}

fn line(cells: &[Cell], widths: &[usize]) -> String {
    let mut line = String::new();
    for (i, (cell, width)) in cells.iter().zip(widths).enumerate() {
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
