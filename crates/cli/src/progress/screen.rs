//! Where progress goes: redrawn in place on a terminal, appended lines elsewhere, one JSON object per change with
//! `--json`.

use super::lines::Lines;
use super::{event, frame};
use crate::output::place::Place;
use crate::output::{Out, width};
use everup_core::status::Status;
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

impl Screen {
    /// An empty one.
    #[must_use]
    pub fn new(out: Out) -> Self {
        let way = match (out.terminal, out.json) {
            (true, _) => Way::Drawn { place: Place::default(), last: None },
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
                place.draw(frame::lines(&status, everup_release::publish::now(), width()));
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
                place.draw(frame::lines(status, everup_release::publish::now(), width()));
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
            Way::Drawn { place, .. } => place.say(|| self.out.say(text)),
            Way::Json { .. } | Way::Lines(_) => self.out.say(text),
        }
    }

    /// Leaves what was drawn last where it is.
    pub fn leave(&mut self) {
        if let Way::Drawn { place, .. } = &mut self.way {
            place.leave();
        }
    }
}
