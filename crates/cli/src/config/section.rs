//! Reads one table of a TOML file key by key, and complains about what it cannot read and does not know.

use super::complaint::Sheet;
use everup_core::words;
use std::ops::Range;
use toml::Spanned;
use toml::de::{DeTable, DeValue};

/// What a key's value has to be.
pub struct Kind<T> {
    /// "a span of time such as \"500ms\", \"30s\" or \"5min\"".
    pub expected: &'static str,
    /// Reads it; `Err` holds what is wrong where the type is right.
    pub read: fn(&DeValue<'_>) -> Result<T, Option<String>>,
}

/// A table of the file; one that the file does not have is empty.
pub struct Section<'s> {
    name: &'static str,
    table: Option<&'s DeTable<'s>>,
    span: Range<usize>,
    known: Vec<&'static str>,
    sheet: &'s Sheet,
}

impl<'s> Section<'s> {
    /// The file itself.
    pub fn root(table: &'s DeTable<'s>, span: Range<usize>, sheet: &'s Sheet) -> Self {
        Self { name: "", table: Some(table), span, known: Vec::new(), sheet }
    }

    /// The table `[name]`.
    pub fn section(&mut self, name: &'static str) -> Section<'s> {
        let value = self.find(name);
        let table = value.and_then(|v| v.get_ref().as_table());
        if let Some(value) = value
            && table.is_none()
        {
            self.wrong(name, value, "a table", None);
        }
        let span = value.map_or(self.span.clone(), Spanned::span);
        Section { name, table, span, known: Vec::new(), sheet: self.sheet }
    }

    /// Overwrites `into` if the file has `key`.
    pub fn set<T>(&mut self, key: &'static str, kind: &Kind<T>, into: &mut T) {
        if let Some(value) = self.get(key, kind) {
            *into = value;
        }
    }

    /// As [`Section::set`], for what has no default.
    pub fn set_some<T>(&mut self, key: &'static str, kind: &Kind<T>, into: &mut Option<T>) {
        if let Some(value) = self.get(key, kind) {
            *into = Some(value);
        }
    }

    /// The value of `key`, if the file has it and it is of that kind.
    pub fn get<T>(&mut self, key: &'static str, kind: &Kind<T>) -> Option<T> {
        let value = self.find(key)?;
        match (kind.read)(value.get_ref()) {
            Ok(read) => Some(read),
            Err(problem) => {
                self.wrong(key, value, kind.expected, problem);
                None
            }
        }
    }

    /// Complains if the file has this table, or is it, and it lacks `key`.
    pub fn need<T>(&mut self, key: &'static str, kind: &Kind<T>) -> Option<T> {
        if self.find(key).is_none() && self.table.is_some() {
            let what = format!("{} has no key `{key}`", self.title());
            self.sheet.complain(self.span.clone(), what, format!("expected {key} = {}", kind.expected));
        }
        self.get(key, kind)
    }

    /// Whether the file has this table.
    pub fn exists(&self) -> bool {
        self.table.is_some()
    }

    /// Complains about every key that nobody asked for.
    pub fn end(self) {
        let Some(table) = self.table else { return };
        for (key, _) in table.iter().filter(|(key, _)| !self.known.contains(&key.get_ref().as_ref())) {
            let text = key.get_ref().as_ref();
            let what = format!("unknown key `{text}` in {}", self.title());
            self.sheet.complain(key.span(), what, suggestion(text, &self.known));
        }
    }

    fn title(&self) -> String {
        if self.name.is_empty() { "this file".to_owned() } else { format!("[{}]", self.name) }
    }

    fn path(&self, key: &str) -> String {
        if self.name.is_empty() { key.to_owned() } else { format!("{}.{key}", self.name) }
    }

    fn find(&mut self, key: &'static str) -> Option<&'s Spanned<DeValue<'s>>> {
        if !self.known.contains(&key) {
            self.known.push(key);
        }
        let value = self.table?.iter().find(|(k, _)| k.get_ref().as_ref() == key)?.1;
        self.sheet.found(self.path(key), value.span());
        Some(value)
    }

    fn wrong(&self, key: &str, value: &Spanned<DeValue<'_>>, expected: &str, problem: Option<String>) {
        let found = problem.unwrap_or_else(|| format!("is {}", type_of(value.get_ref())));
        let what = format!("`{key}` in {} {found}", self.title());
        self.sheet.complain(value.span(), what, format!("expected {expected}"));
    }
}

fn type_of(value: &DeValue<'_>) -> &'static str {
    match value {
        DeValue::String(_) => "a text",
        DeValue::Integer(_) => "a whole number",
        DeValue::Float(_) => "a number with a fraction",
        DeValue::Boolean(_) => "true or false",
        DeValue::Datetime(_) => "a date",
        DeValue::Array(_) => "a list",
        DeValue::Table(_) => "a table",
    }
}

/// "did you mean `interval`?", or what there is.
fn suggestion(text: &str, known: &[&'static str]) -> String {
    match near(text, known.iter().copied()) {
        Some(near) => format!("did you mean `{near}`?"),
        None => format!("known here: {}", words::list(known, 20)),
    }
}

/// The one of `known` that `text` is most likely a slip of.
pub fn near<'k>(text: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let score = |k: &'k str| (strsim::jaro_winkler(&text.to_lowercase(), &k.to_lowercase()), k);
    // 0.8 keeps `helth` for `health` and drops `port` for `start`.
    let best = known.map(score).filter(|(score, _)| *score >= 0.8);
    best.max_by(|a, b| a.0.total_cmp(&b.0)).map(|(_, k)| k)
}
