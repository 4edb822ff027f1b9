//! Seeing the fleet: who is in it, what each instance says, who does not answer; and carrying orders to them.
//!
//! All of it is pushed: long polls to the fleet's engine and to every instance. A leading observer greets before it
//! watches; a looking one only watches.

use crate::bugs::{Bug, planted};
use crate::identity::Identity;
use everup_core::fleet::{Members, Observation, Seen};
use everup_core::ids::{InstanceId, Term};
use everup_core::instance::View;
use everup_core::order::{Ack, Obeyed, Order};
use everup_core::seams::{Clock, Fleet, FleetError, PeerError, Peers, Seams};
use everup_core::status::Line;
use everup_core::time::{Millis, Mono};
use futures_util::StreamExt;
use futures_util::future::LocalBoxFuture;
use futures_util::stream::FuturesUnordered;
use std::collections::{BTreeMap, BTreeSet};

/// An instance that was not heard for so long is not believed to serve. Long polls answer more often than that.
pub(crate) const SILENCE: Millis = Millis(12_000);
/// Before a message that failed is sent again; doubled up to the longest.
const AGAIN: Millis = Millis(250);
/// Before an order that was refused is sent again.
const REFUSED: Millis = Millis(1_000);
const LONGEST: Millis = Millis(4_000);

enum Sight {
    Members(Result<Members, FleetError>),
    /// The list that was asked for because of the announcements.
    MembersSince(Result<Members, FleetError>),
    Greeted(InstanceId, Result<Ack, PeerError>),
    Viewed(InstanceId, Result<View, PeerError>),
    Ordered(Box<Order>, Result<Ack, PeerError>),
}

/// What an observer knows of one instance.
struct Known {
    seen: Seen,
    /// The last order that it was sent, and whether it was answered.
    order: Option<Order>,
    /// How many sendings of it are on their way: a hold is renewed without waiting for the answer.
    sending: u32,
    /// Failures in a row.
    failures: u32,
}

pub(crate) struct Observer<'a, S: Seams> {
    seams: &'a S,
    who: &'a Identity,
    /// The term to greet with; none for one who only looks.
    term: Option<Term>,
    members: Members,
    known: BTreeMap<InstanceId, Known>,
    in_flight: FuturesUnordered<LocalBoxFuture<'a, Sight>>,
    pub(crate) announced: Option<BTreeSet<InstanceId>>,
    /// Whether the list of members is older than that of the announcements: then who announced itself and is not listed
    /// may be new, not gone.
    members_are_older: bool,
    deposed: bool,
    trouble: Option<String>,
}

impl<'a, S: Seams> Observer<'a, S> {
    /// One who looks and changes nothing.
    pub(crate) fn looking(seams: &'a S, who: &'a Identity) -> Self {
        Self::new(seams, who, None)
    }

    /// One who leads in `term`.
    pub(crate) fn leading(seams: &'a S, who: &'a Identity, term: Term) -> Self {
        Self::new(seams, who, Some(term))
    }

    fn new(seams: &'a S, who: &'a Identity, term: Option<Term>) -> Self {
        let observer = Self {
            seams,
            who,
            term,
            members: Members::default(),
            known: BTreeMap::new(),
            in_flight: FuturesUnordered::new(),
            announced: None,
            members_are_older: false,
            deposed: false,
            trouble: None,
        };
        observer.ask_members(0, Millis::ZERO);
        observer
    }

    /// Whether an instance has answered that a higher term is about.
    pub(crate) const fn is_deposed(&self) -> bool {
        self.deposed
    }

    /// Waits for the next thing to be seen, and takes it in.
    pub(crate) async fn next(&mut self) {
        match self.in_flight.next().await {
            Some(sight) => self.take(sight),
            // The fleet is asked all the time, so there is always something in flight.
            None => std::future::pending().await,
        }
    }

    fn take(&mut self, sight: Sight) {
        match sight {
            Sight::Members(Ok(members)) => {
                self.trouble = None;
                let since = members.seq;
                self.meet(members);
                self.ask_members(since, Millis::ZERO);
            }
            Sight::Members(Err(error)) => {
                self.trouble = Some(error.to_string());
                self.ask_members(0, LONGEST);
            }
            Sight::MembersSince(Ok(members)) => {
                self.members_are_older = false;
                // The long poll may have told of a newer one meanwhile.
                if members.seq >= self.members.seq {
                    self.meet(members);
                }
            }
            Sight::MembersSince(Err(error)) => {
                self.trouble = Some(error.to_string());
                self.ask_members_since_announced(AGAIN);
            }
            Sight::Greeted(id, answer) => self.greeted(&id, answer),
            Sight::Viewed(id, answer) => self.viewed(&id, answer),
            Sight::Ordered(order, answer) => self.ordered(*order, answer),
        }
    }

    fn meet(&mut self, members: Members) {
        for (id, member) in &members.members {
            let fresh = !self.known.contains_key(id);
            let known = self.known.entry(id.clone()).or_insert_with(Known::new);
            let moved = known.seen.member.as_ref().is_some_and(|old| old.address != member.address);
            let is_back = !fresh && known.seen.member.is_none();
            known.seen.member = Some(member.clone());
            // What failed while it was not listed was not tried again.
            let unsent = known.order.clone().filter(|_| is_back && known.sending == 0);
            if let Some(order) = unsent {
                self.send(order, Millis::ZERO);
            }
            if fresh || moved {
                self.approach(id, Millis::ZERO);
            }
        }
        for (id, known) in &mut self.known {
            if !members.members.contains_key(id) {
                known.seen.member = None;
            }
        }
        self.members = members;
    }

    fn approach(&mut self, id: &InstanceId, after: Millis) {
        match self.term {
            Some(term) if !planted(Bug::SkipGreeting) => self.greet(id, term, after),
            Some(_) => {
                if let Some(known) = self.known.get_mut(id) {
                    known.seen.greeted = true;
                }
                self.watch(id, 0, after);
            }
            None => self.watch(id, 0, after),
        }
    }

    fn greeted(&mut self, id: &InstanceId, answer: Result<Ack, PeerError>) {
        let now = self.now();
        let Some(known) = self.known.get_mut(id) else { return };
        match answer {
            Ok(Ack { obeyed: Obeyed::Older(_), .. }) => self.deposed = true,
            Ok(Ack { obeyed: Obeyed::Yes | Obeyed::Already, view }) => {
                known.hear(view.clone(), now);
                known.seen.greeted = true;
                self.watch(id, view.seq, Millis::ZERO);
            }
            Ok(Ack { obeyed: Obeyed::Not(why), view }) => {
                known.hear(view, now);
                known.seen.trouble = Some(why);
                let after = known.failed();
                self.approach_later(id, after);
            }
            Err(error) => {
                known.seen.trouble = Some(error.to_string());
                let after = known.failed();
                self.approach_later(id, after);
            }
        }
    }

    fn approach_later(&mut self, id: &InstanceId, after: Millis) {
        if self.is_listed(id) {
            self.approach(id, after);
        } else {
            self.known.remove(id);
        }
    }

    fn is_listed(&self, id: &InstanceId) -> bool {
        self.members.members.contains_key(id)
    }

    fn viewed(&mut self, id: &InstanceId, answer: Result<View, PeerError>) {
        let now = self.now();
        let Some(known) = self.known.get_mut(id) else { return };
        match answer {
            Ok(view) => {
                let restarted = known.seen.view.as_ref().is_some_and(|old| old.run != view.run);
                let seq = view.seq;
                known.hear(view, now);
                if restarted && let Some(order) = known.order.clone() {
                    // Its agent began anew: it may have dropped what it was told.
                    self.send(order, Millis::ZERO);
                }
                self.watch(id, seq, Millis::ZERO);
            }
            Err(error) => {
                known.seen.trouble = Some(error.to_string());
                let after = known.failed();
                if self.is_listed(id) {
                    self.watch(id, 0, after);
                } else {
                    self.known.remove(id);
                }
            }
        }
    }

    fn ordered(&mut self, order: Order, answer: Result<Ack, PeerError>) {
        let now = self.now();
        let Some(known) = self.known.get_mut(&order.to) else { return };
        let latest = known.order.as_ref() == Some(&order);
        known.sending = known.sending.saturating_sub(u32::from(latest));
        // Where another one of it is on its way, that one is the next try.
        let is_last = latest && known.sending == 0;
        match answer {
            Ok(ack) => {
                if matches!(&ack.obeyed, Obeyed::Older(fence) if fence.term > order.fence.term) {
                    self.deposed = true;
                }
                let refused = matches!(&ack.obeyed, Obeyed::Not(_));
                known.hear(ack.view, now);
                if let Obeyed::Not(why) = ack.obeyed {
                    known.seen.trouble = Some(why);
                }
                // What could not be written down now (a full disk) can be in a moment; what cannot be done at all is
                // answered by the next plan, and a newer order ends this.
                if refused && is_last && self.is_listed(&order.to) {
                    self.send(order, REFUSED);
                }
            }
            Err(error) if latest => {
                known.seen.trouble = Some(error.to_string());
                let after = known.failed();
                if is_last && self.is_listed(&order.to) {
                    self.send(order, after);
                }
            }
            Err(_) => {}
        }
    }

    /// Sends an order, until it is answered or a newer one was sent.
    pub(crate) fn order(&mut self, order: Order) {
        if let Some(known) = self.known.get_mut(&order.to) {
            if known.order.as_ref() != Some(&order) {
                (known.order, known.sending) = (Some(order.clone()), 0);
            }
            self.send(order, Millis::ZERO);
        }
    }

    fn send(&mut self, order: Order, after: Millis) {
        let seams = self.seams;
        if let Some(known) = self.known.get_mut(&order.to) {
            known.sending += 1;
        }
        self.in_flight.push(Box::pin(async move {
            pause(seams, after).await;
            let answer = seams.peers().order(&order).await;
            Sight::Ordered(Box::new(order), answer)
        }));
    }

    fn greet(&self, id: &InstanceId, term: Term, after: Millis) {
        let (seams, holder, id) = (self.seams, &self.who.id, id.clone());
        self.in_flight.push(Box::pin(async move {
            pause(seams, after).await;
            let answer = seams.peers().greet(&id, term, holder).await;
            Sight::Greeted(id, answer)
        }));
    }

    fn watch(&self, id: &InstanceId, since: u64, after: Millis) {
        let (seams, id) = (self.seams, id.clone());
        self.in_flight.push(Box::pin(async move {
            pause(seams, after).await;
            let answer = seams.peers().watch(&id, since).await;
            Sight::Viewed(id, answer)
        }));
    }

    fn ask_members(&self, since: u64, after: Millis) {
        let seams = self.seams;
        self.in_flight.push(Box::pin(async move {
            pause(seams, after).await;
            Sight::Members(seams.fleet().members(since).await)
        }));
    }

    /// Takes who has announced itself, and asks for the members once more.
    pub(crate) fn take_announced(&mut self, announced: BTreeSet<InstanceId>) {
        self.announced = Some(announced);
        self.members_are_older = true;
        self.ask_members_since_announced(Millis::ZERO);
    }

    fn ask_members_since_announced(&self, after: Millis) {
        let seams = self.seams;
        self.in_flight.push(Box::pin(async move {
            pause(seams, after).await;
            Sight::MembersSince(seams.fleet().members(0).await)
        }));
    }

    fn now(&self) -> Mono {
        self.seams.clock().mono()
    }

    /// All that is known now, for the planner.
    pub(crate) fn observation(&self) -> Observation {
        let mut seen: BTreeMap<InstanceId, Seen> =
            self.known.iter().map(|(id, known)| (id.clone(), known.seen.clone())).collect();
        for id in self.announced.iter().flatten() {
            seen.entry(id.clone()).or_insert_with(|| Known::new().seen);
        }
        Observation {
            now: self.now(),
            desired: self.members.desired,
            seen,
            gone: self.members.gone.clone(),
            ended: self.members.ended.clone(),
            complete: self.members.complete && !self.members_are_older,
            announced: self.announced.clone(),
            silence: SILENCE,
        }
    }

    /// Who is in the fleet.
    pub(crate) fn members(&self) -> impl Iterator<Item = &InstanceId> {
        self.members.members.keys()
    }

    /// Whether the fleet's engine has said that there is to be no instance.
    pub(crate) fn finds_nobody_wanted(&self) -> bool {
        self.has_members() && self.members.desired == 0
    }

    /// Whether the fleet's engine has answered at all.
    pub(crate) fn has_members(&self) -> bool {
        self.members.seq > 0 || !self.members.members.is_empty()
    }

    /// What the fleet's engine says is wrong.
    pub(crate) fn trouble(&self) -> Option<String> {
        self.trouble.clone()
    }

    /// For the board.
    pub(crate) fn lines(&self) -> (u32, Vec<Line>) {
        let now = self.now();
        let lines = self.known.iter().filter_map(|(id, known)| {
            let member = known.seen.member.as_ref()?;
            let view = known.seen.view.as_ref();
            let mut seen = known.seen.clone();
            // One who only looks has greeted nobody, and sees as well.
            seen.greeted = true;
            Some(Line {
                id: id.clone(),
                zone: member.zone.clone(),
                address: member.address.clone(),
                phase: view.map(|view| view.phase),
                release: view.and_then(|view| view.release.clone()),
                in_service: seen.in_service(now, SILENCE),
                waiting: view.and_then(|view| view.waiting.clone()).or_else(|| known.seen.trouble.clone()),
                problem: view.and_then(|view| view.problem.clone()),
            })
        });
        (self.members.desired, lines.collect())
    }
}

impl Known {
    const fn new() -> Self {
        let seen =
            Seen { member: None, view: None, heard: None, obeyed: None, greeted: false, trouble: None };
        Self { seen, order: None, sending: 0, failures: 0 }
    }

    fn hear(&mut self, view: View, now: Mono) {
        // Answers to two calls can overtake each other.
        let stale = self.seen.view.as_ref().is_some_and(|old| old.run == view.run && old.seq > view.seq);
        if !stale {
            if self.seen.view.as_ref().map(|old| old.fence) != Some(view.fence) {
                self.seen.obeyed = Some(now);
            }
            self.seen.view = Some(view);
        }
        self.seen.heard = Some(now);
        self.seen.trouble = None;
        self.failures = 0;
    }

    /// Counts a failure; says how long to wait before the next try.
    fn failed(&mut self) -> Millis {
        self.failures += 1;
        Millis((AGAIN.0 << self.failures.min(10)).min(LONGEST.0))
    }
}

async fn pause<S: Seams>(seams: &S, span: Millis) {
    if span > Millis::ZERO {
        seams.clock().until(seams.clock().mono() + span).await;
    }
}
