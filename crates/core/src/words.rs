//! Plurals, lists and durations, so that every message uses the same grammar.

use crate::time::{Millis, Wall};
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

/// "2026-11-25 13:00:50 UTC".
#[must_use]
pub fn moment(at: Wall) -> String {
    let seconds = at.0 / 1_000;
    let (year, month, day) = civil(seconds / 86_400);
    let (hour, minute, second) = (seconds / 3_600 % 24, seconds / 60 % 60, seconds % 60);
    format!("{year}-{month:02}-{day:02} {hour:02}:{minute:02}:{second:02} UTC")
}

/// Days since 1970 as a date of the Gregorian calendar. Years are counted from March, so that a leap day is the last
/// of its year; 719,468 days lie between 0000-03-01 and 1970-01-01, and 146,097 in 400 years.
const fn civil(days: u64) -> (u64, u64, u64) {
    let days = days + 719_468;
    let (era, of_era) = (days / 146_097, days % 146_097);
    let year = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let of_year = of_era - (365 * year + year / 4 - year / 100);
    let from_march = (5 * of_year + 2) / 153;
    let day = of_year - (153 * from_march + 2) / 5 + 1;
    let month = if from_march < 10 { from_march + 3 } else { from_march - 9 };
    (era * 400 + year + (month <= 2) as u64, month, day)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn moments_are_those_of_the_calendar() {
        for (seconds, text) in [
            (0, "1970-01-01 00:00:00 UTC"),
            (951_782_399, "2000-02-28 23:59:59 UTC"),
            (951_782_400, "2000-02-29 00:00:00 UTC"),
            (1_795_611_650, "2026-11-25 13:00:50 UTC"),
            (4_107_542_400, "2100-03-01 00:00:00 UTC"),
        ] {
            assert_eq!(moment(Wall(seconds * 1_000)), text);
        }
    }

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
