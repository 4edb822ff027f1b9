//! What is wrong with a file, each with its place; all of it is found before any of it is said.

use annotate_snippets::renderer::DecorStyle;
use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::ops::Range;

/// One mistake, with its place.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Complaint {
    /// The bytes that are meant.
    pub span: Range<usize>,
    /// What is wrong: "unknown key `intervall` in [health]".
    pub what: String,
    /// What was expected there.
    pub expected: String,
}

/// A file's complaints, and where each of its keys was found.
#[derive(Debug, Default)]
pub struct Sheet {
    complaints: RefCell<Vec<Complaint>>,
    spans: RefCell<BTreeMap<String, Range<usize>>>,
}

impl Sheet {
    /// Adds a mistake.
    pub fn complain(&self, span: Range<usize>, what: impl Into<String>, expected: impl Into<String>) {
        let complaint = Complaint { span, what: what.into(), expected: expected.into() };
        self.complaints.borrow_mut().push(complaint);
    }

    /// Remembers where the value of `path` ("fleet.min") stands.
    pub fn found(&self, path: String, span: Range<usize>) {
        self.spans.borrow_mut().insert(path, span);
    }

    /// Adds a mistake about the value of `path`, or, where the file leaves it to its default, of the first of
    /// `others` that the file has.
    pub fn complain_at(
        &self,
        path: &str,
        others: &[&str],
        what: impl Into<String>,
        expected: impl Into<String>,
    ) {
        let spans = self.spans.borrow();
        let span = [path].iter().chain(others).find_map(|path| spans.get(*path).cloned());
        self.complain(span.unwrap_or(0..0), what, expected);
    }

    /// Whether the file itself has `path`.
    pub fn has(&self, path: &str) -> bool {
        self.spans.borrow().contains_key(path)
    }

    /// All mistakes, in the order of the file.
    pub fn into_complaints(self) -> Vec<Complaint> {
        let mut complaints = self.complaints.into_inner();
        complaints.sort_by_key(|c| (c.span.start, c.span.end));
        complaints
    }
}

/// The mistakes as text for a person: file, line, column, the line itself, what was expected.
pub(super) fn render(complaints: &[Complaint], path: &str, source: &str, colour: bool) -> String {
    let renderer = if colour { Renderer::styled() } else { Renderer::plain() };
    let renderer = renderer.decor_style(DecorStyle::Ascii);
    let one = |complaint: &Complaint| {
        let mark = AnnotationKind::Primary.span(complaint.span.clone()).label(complaint.expected.as_str());
        let snippet = Snippet::source(source).path(path).annotation(mark);
        renderer.render(&[Level::ERROR.primary_title(complaint.what.as_str()).element(snippet)])
    };
    complaints.iter().map(one).collect::<Vec<_>>().join("\n\n")
}
