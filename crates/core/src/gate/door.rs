//! One gate without its queue: whether it lets requests through, and when that changes by itself.

use super::opening::{Opening, Place};
use super::{Counts, Drain, Hold, NotHolding, Passing, Upstream};
use crate::ids::{Fence, HoldId};
use crate::time::{Millis, Mono};
use serde::{Deserialize, Serialize};

/// Why a gate does not begin a hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
pub enum HoldRefused {
    /// A newer order has been here.
    #[error("the hold's fence {asked} is lower than {seen}, which this gate has seen")]
    Older {
        /// What the hold carries.
        asked: Fence,
        /// What the gate has seen.
        seen: Fence,
    },
    /// A seal ends by order only; a hold, which lapses by itself, must not replace it.
    #[error("the gate is sealed; only a release opens it")]
    Sealed,
}

/// There is no app to open to.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error, Serialize, Deserialize)]
#[error("the gate has no upstream; switch it to one first")]
pub struct NoUpstream;

/// What a gate keeps across a restart of its process. A soft hold and a drain do not survive: the app runs, so the
/// gate opens into it. A seal and a shut gate do.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Kept {
    /// `Open`, `Shut` or `Sealed`.
    pub passing: Passing,
    /// Where it sends.
    pub upstream: Option<Upstream>,
    /// The highest fence that it has seen.
    pub fence: Fence,
    /// Whether the balancer chooses it for new requests.
    pub balanced: bool,
}

impl Kept {
    /// A gate before an app that is still to come.
    #[must_use]
    pub fn expected(balanced: bool) -> Self {
        Self { passing: Passing::Shut, upstream: None, fence: Fence::default(), balanced }
    }

    /// An open gate before a running app.
    #[must_use]
    pub fn open(upstream: Upstream, balanced: bool) -> Self {
        Self { passing: Passing::Open, upstream: Some(upstream), fence: Fence::default(), balanced }
    }
}

/// What the machine remembers of one request that passed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Mark {
    pub(super) serial: u64,
    pub(super) epoch: u32,
    opening: Option<Place>,
    stream: bool,
}

/// What happened to a door by itself.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Turn {
    Lapsed,
    End,
    Drained,
    Idle,
    TakenBack,
}

#[derive(Debug, Clone)]
struct Living {
    id: HoldId,
    until: Mono,
    /// It was shut before: there may be no app to open into.
    shut: bool,
}

#[derive(Debug, Clone, Copy)]
struct Leaving {
    deadline: Mono,
    /// From then on nothing new passes, so that the drain ends although clients never pause.
    admits_until: Mono,
    quiet: Millis,
    last_arrival: Mono,
    /// Requests with a lower serial were inside when the drain began.
    mark: u64,
    elders: u32,
    ended: bool,
}

#[derive(Debug, Clone)]
pub(super) struct Door {
    passing: Passing,
    upstream: Option<Upstream>,
    epoch: u32,
    fence: Fence,
    hold: Option<Living>,
    leaving: Option<Leaving>,
    opening: Option<Opening>,
    openings: u32,
    serial: u64,
    inside: u32,
    /// Of those inside, the ones in upstreams before the present one.
    former: u32,
    streams: u32,
}

impl Door {
    pub(super) fn new(kept: &Kept) -> Self {
        let passing = match kept.passing {
            Passing::Sealed => Passing::Sealed,
            Passing::Shut => Passing::Shut,
            _ if kept.upstream.is_none() => Passing::Shut,
            _ => Passing::Open,
        };
        Self {
            passing,
            upstream: kept.upstream.clone(),
            epoch: 0,
            fence: kept.fence,
            hold: None,
            leaving: None,
            opening: None,
            openings: 0,
            serial: 0,
            inside: 0,
            former: 0,
            streams: 0,
        }
    }

    pub(super) fn kept(&self, balanced: bool) -> Kept {
        let passing = match self.passing {
            Passing::Held if self.hold.as_ref().is_some_and(|h| h.shut) => Passing::Shut,
            Passing::Held | Passing::Draining | Passing::Open => Passing::Open,
            stays => stays,
        };
        Kept { passing, upstream: self.upstream.clone(), fence: self.fence, balanced }
    }

    pub(super) fn passing(&self) -> Passing {
        self.passing
    }

    pub(super) fn upstream(&self) -> Option<&Upstream> {
        self.upstream.as_ref()
    }

    pub(super) fn hold_id(&self) -> Option<&HoldId> {
        self.hold.as_ref().map(|h| &h.id)
    }

    pub(super) fn inside(&self) -> u32 {
        self.inside
    }

    /// Inside the upstream that new requests go to.
    pub(super) fn present(&self) -> u32 {
        self.inside - self.former
    }

    pub(super) fn counts(&self, waiting: usize) -> Counts {
        Counts {
            passing: self.passing,
            upstream: self.upstream().map(|upstream| upstream.start.clone()),
            in_flight: self.inside,
            former: self.former,
            streams: self.streams,
            waiting: u32::try_from(waiting).unwrap_or(u32::MAX),
        }
    }

    // What requests do.

    pub(super) fn passes(&self, now: Mono) -> bool {
        match self.passing {
            Passing::Open => self.opening.is_none_or(|opening| opening.has_room()),
            Passing::Draining => self.leaving.is_some_and(|l| l.admits(now)),
            Passing::Held | Passing::Shut | Passing::Sealed => false,
        }
    }

    /// A request passes; the caller has asked [`Self::passes`].
    pub(super) fn enter(&mut self, now: Mono) -> Mark {
        debug_assert!(self.passes(now), "nothing passes a gate that does not pass");
        self.inside += 1;
        let serial = self.serial;
        self.serial += 1;
        if let Some(leaving) = &mut self.leaving {
            leaving.last_arrival = now;
        }
        let opening = self.opening.as_mut().map(|opening| opening.enter(now));
        Mark { serial, epoch: self.epoch, opening, stream: false }
    }

    /// The answer of `mark` turned out to be one without a foreseeable end.
    pub(super) fn streams(&mut self, now: Mono, mark: &mut Mark) {
        if !mark.stream {
            mark.stream = true;
            self.streams += 1;
            self.widen(now, mark.opening.take());
        }
    }

    /// A request is out of the app, however that came.
    pub(super) fn exit(&mut self, now: Mono, mark: Mark) -> Option<Turn> {
        self.inside -= 1;
        self.former -= u32::from(mark.epoch != self.epoch);
        self.streams -= u32::from(mark.stream);
        self.widen(now, mark.opening);
        if let Some(leaving) = &mut self.leaving {
            leaving.elders -= u32::from(mark.serial < leaving.mark);
        }
        self.settle(now).or((self.inside == 0).then_some(Turn::Idle))
    }

    fn widen(&mut self, now: Mono, place: Option<Place>) {
        if let (Some(opening), Some(place)) = (&mut self.opening, place) {
            opening.exit(now, place);
        }
    }

    /// Nobody waits any more: whoever comes now comes by himself.
    pub(super) fn all_let_go(&mut self) {
        self.opening = None;
    }

    // What orders do.

    pub(super) fn hold(&mut self, now: Mono, hold: &Hold) -> Result<Option<Turn>, HoldRefused> {
        if hold.fence < self.fence {
            return Err(HoldRefused::Older { asked: hold.fence, seen: self.fence });
        }
        let shut = match self.passing {
            Passing::Sealed => return Err(HoldRefused::Sealed),
            Passing::Held => self.hold.as_ref().is_some_and(|h| h.shut),
            Passing::Shut => true,
            Passing::Open | Passing::Draining => self.upstream.is_none(),
        };
        self.fence = hold.fence;
        self.hold = Some(Living { id: hold.id.clone(), until: now + hold.lapse, shut });
        Ok(self.turn_to(Passing::Held))
    }

    pub(super) fn seal(&mut self, now: Mono, id: Option<&HoldId>) -> Result<(), NotHolding> {
        let may = match (self.passing, id) {
            (Passing::Sealed, _) => true,
            (Passing::Held, Some(id)) => self.hold.as_ref().is_some_and(|h| h.id == *id && now < h.until),
            (_, None) => self.upstream.is_none(),
            (_, Some(_)) => false,
        };
        if !may {
            return Err(NotHolding);
        }
        self.hold = None;
        self.opening = None;
        self.passing = Passing::Sealed;
        Ok(())
    }

    pub(super) fn drain(&mut self, now: Mono, drain: &Drain) -> Option<Turn> {
        let deadline = now + drain.within;
        if let Some(leaving) = &mut self.leaving {
            leaving.deadline = leaving.deadline.min(deadline);
            return self.settle(now);
        }
        let half = if self.passing == Passing::Open { Millis(drain.within.0 / 2) } else { Millis::ZERO };
        self.leaving = Some(Leaving {
            deadline,
            admits_until: now + half,
            quiet: drain.quiet,
            last_arrival: now,
            mark: self.serial,
            elders: self.inside,
            ended: false,
        });
        if matches!(self.passing, Passing::Open | Passing::Held) {
            self.hold = None;
            self.opening = None;
            self.passing = Passing::Draining;
        }
        self.settle(now)
    }

    /// From now on what passes goes to `to`.
    pub(super) fn switch(&mut self, to: &Upstream) -> bool {
        let other = self.upstream.as_ref() != Some(to);
        if other {
            self.epoch += 1;
            self.former = self.inside;
            self.upstream = Some(to.clone());
        }
        other
    }

    pub(super) fn release(&mut self) -> Result<Option<Turn>, NoUpstream> {
        if self.upstream.is_none() {
            return Err(NoUpstream);
        }
        self.hold = None;
        if self.passing != Passing::Open {
            self.begin_opening();
        }
        Ok(self.turn_to(Passing::Open))
    }

    fn begin_opening(&mut self) {
        self.openings += 1;
        self.opening = Some(Opening::new(self.openings));
    }

    /// Changes state by order; a drain that was on its way is taken back.
    fn turn_to(&mut self, passing: Passing) -> Option<Turn> {
        self.passing = passing;
        self.leaving.take().map(|_| Turn::TakenBack)
    }

    // What time does.

    pub(super) fn tick(&mut self, now: Mono) -> Option<Turn> {
        if let Some(living) = self.hold.take_if(|h| h.until <= now) {
            self.passing = if living.shut { Passing::Shut } else { Passing::Open };
            self.begin_opening();
            return Some(Turn::Lapsed);
        }
        if let Some(turn) = self.settle(now) {
            return Some(turn);
        }
        let leaving = self.leaving.as_mut().filter(|l| !l.ended && l.deadline <= now)?;
        leaving.ended = true;
        Some(Turn::End)
    }

    fn settle(&mut self, now: Mono) -> Option<Turn> {
        let leaving = self.leaving?;
        let draining = self.passing == Passing::Draining;
        if self.inside > 0 || (draining && leaving.admits(now) && now < leaving.last_arrival + leaving.quiet)
        {
            return None;
        }
        self.leaving = None;
        if draining {
            self.passing = Passing::Shut;
        }
        Some(Turn::Drained)
    }

    pub(super) fn next_deadline(&self) -> Option<Mono> {
        let lapse = self.hold.as_ref().map(|h| h.until);
        let leaving = self.leaving.as_ref().and_then(|l| l.next_deadline(self.inside));
        [lapse, leaving].into_iter().flatten().min()
    }
}

impl Leaving {
    /// Late arrivals pass to the app while it has to run anyway: until the balancer has been quiet for long enough,
    /// or, where no balancer stands before, while requests from before the drain are inside.
    fn admits(&self, now: Mono) -> bool {
        !self.ended && now < self.admits_until && (self.quiet > Millis::ZERO || self.elders > 0)
    }

    fn next_deadline(&self, inside: u32) -> Option<Mono> {
        if inside == 0 {
            Some(self.admits_until.min(self.last_arrival + self.quiet))
        } else {
            (!self.ended).then_some(self.deadline)
        }
    }
}
