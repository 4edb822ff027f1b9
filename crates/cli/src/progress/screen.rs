//! Where progress goes: redrawn in place on a terminal, appended lines elsewhere, one JSON object per change with
//! `--json`.

use super::lines::Lines;
use super::{event, frame};
use crate::output::Out;
use everup_core::status::Status;
use indicatif::{MultiProgress, ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::time::{Duration, Instant};

/// Shows one status after the other.
pub struct Screen {
    out: Out,
    way: Way,
}

/// How.
enum Way {
    Drawn { place: Place, last: Option<Status> },
    Json { last: Option<Status> },
    Lines(Lines),
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
        let way = match (out.terminal, out.json) {
            (true, _) => Way::Drawn { place: Place::new(), last: None },
            (false, true) => Way::Json { last: None },
            (false, false) => Way::Lines(Lines::default()),
        };
        Self { out, way }
    }

    /// Whoever asked tells the end of the deployment itself.
    pub const fn leave_out_the_end(&mut self) {
        if let Way::Lines(lines) = &mut self.way {
            lines.leave_out_the_end();
        }
    }

    /// Shows `status`.
    pub fn show(&mut self, status: Status) {
        match &mut self.way {
            Way::Drawn { place, last } => {
                place.draw(&frame::lines(&status, everup_release::publish::now(), self.out.width));
                *last = Some(status);
            }
            Way::Json { last } => {
                event::between(last.as_ref(), &status).iter().for_each(|event| self.out.event(event));
                *last = Some(status);
            }
            Way::Lines(lines) => {
                lines.show(status, Instant::now()).iter().for_each(|line| self.out.say(line));
            }
        }
    }

    /// The last status again: time has passed.
    pub fn tick(&mut self) {
        match &mut self.way {
            Way::Drawn { place, last: Some(status) } => {
                place.draw(&frame::lines(status, everup_release::publish::now(), self.out.width));
            }
            Way::Lines(lines) => lines.tick(Instant::now()).iter().for_each(|line| self.out.say(line)),
            Way::Drawn { last: None, .. } | Way::Json { .. } => {}
        }
    }

    /// How often [`Screen::tick`] is worth a call.
    pub const PACE: Duration = Duration::from_secs(1);

    /// Talk, above what is drawn.
    pub fn say(&self, text: &str) {
        match &self.way {
            Way::Drawn { place, .. } => place.all.suspend(|| self.out.say(text)),
            Way::Json { .. } | Way::Lines(_) => self.out.say(text),
        }
    }

    /// Leaves what was drawn last where it is.
    pub fn leave(&mut self) {
        if let Way::Drawn { place, .. } = &mut self.way {
            place.lines.drain(..).for_each(|bar| bar.abandon());
        }
    }
}

impl Place {
    fn new() -> Self {
        let all = MultiProgress::with_draw_target(ProgressDrawTarget::stderr_with_hz(10));
        Self { all, lines: Vec::new() }
    }

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
            // A line without anything is not drawn at all.
            bar.set_message(if shown.is_empty() { " ".to_owned() } else { shown });
        }
    }
}
