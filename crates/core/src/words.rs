//! Plurals, lists and durations, so that every message uses the same grammar.

use crate::time::Millis;
use std::fmt::Display;

/// "1 instance", "3 instances".
#[must_use]
pub fn count(n: usize, noun: &str) -> String {
    if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") }
}

/// "a", "a and b", "a, b and c"; of more than `most`, "a, b and 7 more".
#[must_use]
pub fn list<T: Display>(items: impl IntoIterator<Item = T>, most: usize) -> String {
    let mut words: Vec<String> = items.into_iter().map(|item| item.to_string()).collect();
    if words.len() > most.max(1) {
        let more = words.len() - most.max(1);
        words.truncate(most.max(1));
        words.push(format!("{more} more"));
    }
    match words.split_last() {
        None => "none".to_owned(),
        Some((only, [])) => only.clone(),
        Some((last, rest)) => format!("{} and {last}", rest.join(", ")),
    }
}

/// "850 ms", "2.4 s", "3 min 5 s", "2 h 10 min".
#[must_use]
pub fn span(span: Millis) -> String {
    let ms = span.0;
    match ms {
        0..1_000 => format!("{ms} ms"),
        1_000..60_000 if ms.is_multiple_of(1_000) => format!("{} s", ms / 1_000),
        1_000..60_000 => format!("{}.{} s", ms / 1_000, ms % 1_000 / 100),
        60_000..3_600_000 if (ms / 1_000).is_multiple_of(60) => format!("{} min", ms / 60_000),
        60_000..3_600_000 => format!("{} min {} s", ms / 60_000, ms / 1_000 % 60),
        _ if (ms / 60_000).is_multiple_of(60) => format!("{} h", ms / 3_600_000),
        _ => format!("{} h {} min", ms / 3_600_000, ms / 60_000 % 60),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_read_as_a_person_would_say_them() {
        assert_eq!(count(1, "instance"), "1 instance");
        assert_eq!(count(0, "instance"), "0 instances");
        assert_eq!(list(["a", "b", "c"], 5), "a, b and c");
        assert_eq!(list(["a", "b", "c"], 1), "a and 2 more");
        assert_eq!(list(Vec::<String>::new(), 1), "none");
        for (ms, text) in
            [(7, "7 ms"), (2_450, "2.4 s"), (5_000, "5 s"), (185_000, "3 min 5 s"), (7_800_000, "2 h 10 min")]
        {
            assert_eq!(span(Millis(ms)), text);
        }
    }
}
