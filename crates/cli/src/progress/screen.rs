//! Where progress goes: redrawn in place on a terminal, one appended line per change elsewhere, one JSON object per
//! change with `--json`.

use super::{event, frame};
use crate::output::Out;
use everup_core::status::Status;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::Duration;

/// Shows one status after the other.
pub struct Screen {
    out: Out,
    last: Option<Status>,
    place: Option<Place>,
}

/// Lines on a terminal that are drawn over again.
struct Place {
    all: MultiProgress,
    lines: Vec<ProgressBar>,
}

impl Screen {
    /// An empty one.
    #[must_use]
    pub fn new(out: Out) -> Self {
        let place = out.terminal.then(|| Place {
            all: MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10)),
            lines: Vec::new(),
        });
        Self { out, last: None, place }
    }

    /// Shows `status`.
    pub fn show(&mut self, status: Status) {
        match &mut self.place {
            Some(place) => place.draw(&frame::lines(&status, everup_release::publish::now(), self.out.width)),
            None => {
                for event in event::between(self.last.as_ref(), &status) {
                    if self.out.json { self.out.event(&event) } else { self.out.say(event.to_string()) }
                }
            }
        }
        self.last = Some(status);
    }

    /// The last status again: time has passed.
    pub fn tick(&mut self) {
        if let (Some(place), Some(status)) = (&mut self.place, &self.last) {
            place.draw(&frame::lines(status, everup_release::publish::now(), self.out.width));
        }
    }

    /// How often [`Screen::tick`] is worth a call.
    #[must_use]
    pub fn pace(&self) -> Duration {
        if self.place.is_some() { Duration::from_secs(1) } else { Duration::from_secs(3_600) }
    }

    /// Talk, above what is drawn.
    pub fn say(&self, text: &str) {
        match &self.place {
            Some(place) => place.all.suspend(|| self.out.say(text)),
            None => self.out.say(text),
        }
    }

    /// Leaves what was drawn last where it is.
    pub fn leave(&mut self) {
        if let Some(place) = self.place.take() {
            place.lines.iter().for_each(ProgressBar::abandon);
        }
    }
}

impl Place {
    fn draw(&mut self, lines: &[String]) {
        let plain = ProgressStyle::with_template("{msg}").expect("a fixed template");
        while self.lines.len() < lines.len() {
            self.lines.push(self.all.add(ProgressBar::new(0).with_style(plain.clone())));
        }
        while self.lines.len() > lines.len() {
            if let Some(bar) = self.lines.pop() {
                self.all.remove(&bar);
            }
        }
        for (bar, line) in self.lines.iter().zip(lines) {
            // Escapes are stripped here where colours are not wanted: indicatif writes past `output`.
            let shown = if crate::output::coloured() {
                line.clone()
            } else {
                anstream::adapter::strip_str(line).to_string()
            };
            bar.set_message(shown);
        }
    }
}
