//! Leading a deployment: observe, plan, write, send; until it is over or somebody else leads.

use super::begin::same;
use super::keep::{Lost, lease_of};
use super::observe::Observer;
use super::stopwatch::Stopwatch;
use super::{Agent, HeadObject, Keeper, spoil};
use crate::bugs::{Bug, planted};
use crate::mailbox::{Board, Command, Refused};
use crate::object::{Object, Swapped, fresh_mark, read, swap};
use everup_core::deployment::State;
use everup_core::head::{Current, Head, Request};
use everup_core::ids::InstanceId;
use everup_core::plan::{Facts, Plan, head_before, plan};
use everup_core::record::{Record, instances_prefix, record_key};
use everup_core::seams::{Clock, Peers, Seams, Store};
use everup_core::time::{Millis, Mono};
use futures_channel::mpsc;
use futures_util::future::join_all;
use futures_util::{FutureExt, StreamExt, pin_mut, select_biased};
use std::ops::ControlFlow;

/// How often the plan is made without anything having been seen: for what only time changes.
const TICK: Millis = Millis(500);
/// The store stays silent for so long: the agent stops leading, and watches like everybody else.
const PATIENCE: Millis = Millis(30_000);

/// A deployment in the hands of its coordinator.
struct Leading<'a, S: Seams> {
    keeper: Keeper<'a, S>,
    record: Object<Record>,
    observer: Observer<'a, S>,
    /// The state in which the announcements were listed.
    listed_in: Option<State>,
    watch: Stopwatch,
    next_beat: Mono,
    next_renewal: Mono,
    silent_since: Option<Mono>,
}

impl<'a, S: Seams, B: Board> Agent<'a, S, B> {
    /// Leads until the deployment is over, or another coordinator is in charge; broken off where it has to lead none any
    /// more.
    pub(super) async fn lead(
        &mut self,
        head: HeadObject,
        commands: &mut mpsc::Receiver<Command>,
    ) -> ControlFlow<()> {
        const AGAIN: ControlFlow<()> = ControlFlow::Continue(());
        let Some(current) = head.value.current.clone() else { return AGAIN };
        let keeper = Keeper::new(self.seams, self.who, head);
        let Some(record) = self.stamp(&keeper, &current).await else { return AGAIN };
        let now = self.seams.clock().mono();
        let mut leading = Leading {
            watch: Stopwatch::new(record.value.state, record.value.elapsed, now),
            observer: Observer::leading(self.seams, self.who, keeper.head.value.term),
            listed_in: None,
            keeper,
            record,
            next_beat: now,
            next_renewal: now,
            silent_since: None,
        };
        loop {
            match self.step(&mut leading).await {
                Ok(_) if leading.record.value.state.is_final() => {
                    match self.finish(&mut leading.keeper, &mut leading.record).await {
                        Ok(()) | Err(Lost::Deposed) => {
                            self.show_end(&leading);
                            return AGAIN;
                        }
                        Err(Lost::Store(_)) => {}
                    }
                }
                // What was just written may allow the next step at once.
                Ok(true) => continue,
                Ok(false) => {}
                Err(Lost::Deposed) => return AGAIN,
                Err(Lost::Store(error)) => {
                    let since = *leading.silent_since.get_or_insert(self.seams.clock().mono());
                    if self.seams.clock().mono().since(since) > PATIENCE {
                        return AGAIN;
                    }
                    self.show(
                        Some(leading.keeper.head.value.clone()),
                        Some(&leading.observer),
                        Some(error.to_string()),
                    );
                }
            }
            if leading.observer.is_deposed() && self.check_deposed(&mut leading).await {
                return AGAIN;
            }
            if self.wait_for_news(&mut leading, commands).await.is_break() {
                self.resign(leading).await;
                return ControlFlow::Break(());
            }
        }
    }

    /// The term goes into the record before anything else: only then does an older holder's write fail.
    async fn stamp(&self, keeper: &Keeper<'a, S>, current: &Current) -> Option<Object<Record>> {
        let key = record_key(&self.who.environment, &current.id);
        let term = keeper.head.value.term;
        let until = self.seams.clock().mono() + PATIENCE;
        while self.seams.clock().mono() < until {
            if let Ok(found) = read::<Record>(self.seams, &key).await {
                let (etag, next) = match found {
                    Some(found) if found.value.term > term => return None,
                    Some(found) => {
                        let mut next = found.value;
                        next.term = term;
                        next.rev = next.rev.next();
                        (Some(found.etag), next)
                    }
                    None => {
                        let mark = fresh_mark(self.seams.chance());
                        (
                            None,
                            Record::first(&self.who.environment, &current.id, term, &current.request, mark),
                        )
                    }
                };
                if let Ok(Swapped::Done(record)) = swap(self.seams, &key, etag.as_ref(), next).await {
                    return Some(record);
                }
            }
            self.seams.clock().until(self.seams.clock().mono() + Millis(200)).await;
        }
        None
    }

    /// One turn: what follows from what is known is written, then sent. Says whether anything was written.
    async fn step(&mut self, leading: &mut Leading<'a, S>) -> Result<bool, Lost> {
        self.list_announced(leading).await?;
        let now = self.seams.clock().mono();
        let rev = leading.record.value.rev;
        leading.watch.tick(leading.record.value.state, now);
        if leading.observer.has_members() && !leading.record.value.state.is_final() {
            let observation = leading.observer.observation();
            let planned = plan(Facts {
                head: &leading.keeper.head.value,
                record: &leading.record.value,
                seen: &observation,
                elapsed: leading.watch.elapsed(),
                in_state: leading.watch.in_state(),
                wall: self.seams.clock().wall(),
            });
            self.carry_out(leading, spoil::spoil(planned)).await?;
        }
        self.beat(leading).await?;
        leading.silent_since = None;
        self.record = Some(leading.record.value.clone());
        self.show(
            Some(leading.keeper.head.value.clone()),
            Some(&leading.observer),
            leading.observer.trouble(),
        );
        Ok(leading.record.value.rev != rev)
    }

    async fn carry_out(&mut self, leading: &mut Leading<'a, S>, planned: Plan) -> Result<(), Lost> {
        let left = planned.next.until().0.saturating_sub(leading.watch.elapsed().0);
        let left = Millis(left / 1_000 * 1_000);
        let waiting: Vec<String> = planned.waiting.iter().map(|wait| wait.until(left)).collect();
        if planned.changed {
            let grants = granted_now(&planned.next);
            if planted(Bug::OrderBeforeGrant) {
                for order in grants.iter().filter_map(|id| planned.next.order(id, &self.who.id)) {
                    // The bug does not even care for the answer.
                    let _ = self.seams.peers().order(&order).await;
                }
            }
            self.write(leading, planned.next).await?;
            self.send_written(leading, &grants);
            leading.next_renewal =
                self.seams.clock().mono() + Millis(leading.record.value.policy.lapse.0 / 3);
        } else if !planned.renew.is_empty() && self.seams.clock().mono() >= leading.next_renewal {
            self.send_written(leading, &planned.renew);
            leading.next_renewal =
                self.seams.clock().mono() + Millis(leading.record.value.policy.lapse.0 / 3);
        }
        leading.record.value.waiting = waiting;
        Ok(())
    }

    /// Head first, where it has to say something before the record may; then the record.
    async fn write(&mut self, leading: &mut Leading<'a, S>, mut next: Record) -> Result<(), Lost> {
        if head_before(&leading.keeper.head.value, &next).is_some() {
            let say = |head: &Head| head_before(head, &next).unwrap_or_else(|| head.clone());
            leading.keeper.edit(|head| spoil::head(head, say(head))).await?;
        }
        next.waiting.clear();
        let key = record_key(&self.who.environment, &next.id);
        match swap(self.seams, &key, Some(&leading.record.etag), next).await.map_err(Lost::Store)? {
            Swapped::Done(record) => {
                leading.watch.tick(record.value.state, self.seams.clock().mono());
                leading.record = record;
                Ok(())
            }
            // Only a newer coordinator writes the record.
            Swapped::Rival(_) => Err(Lost::Deposed),
        }
    }

    fn send_written(&self, leading: &mut Leading<'a, S>, to: &[InstanceId]) {
        let record = leading.record.value.clone();
        self.send(leading, &record, to);
    }

    fn send(&self, leading: &mut Leading<'a, S>, record: &Record, to: &[InstanceId]) {
        for id in to {
            if let Some(order) = record.order(id, &self.who.id) {
                leading.observer.order(order);
            }
        }
    }

    /// Who announced itself is listed after what newcomers read was written, never before: that the fleet is being sealed,
    /// or that they take another release. Who announces itself later reads that.
    async fn list_announced(&self, leading: &mut Leading<'a, S>) -> Result<(), Lost> {
        let record = &leading.record.value;
        let is_written = match record.state {
            // Who boots waits while it is pending.
            State::Pending => leading.observer.finds_nobody_wanted(),
            State::Rolling => record.is_for_newcomers(),
            state => matches!(state, State::Sealing | State::RollingBack),
        };
        if !is_written || leading.listed_in == Some(record.state) {
            return Ok(());
        }
        leading.observer.announced = None;
        let state = record.state;
        let prefix = instances_prefix(&self.who.environment);
        let keys = self.seams.store().list(&prefix).await.map_err(Lost::Store)?;
        let id = |key: &String| InstanceId::new(key.strip_prefix(&prefix)?.strip_suffix(".json")?).ok();
        leading.observer.take_announced(keys.iter().filter_map(id).collect());
        leading.listed_in = Some(state);
        Ok(())
    }

    async fn beat(&self, leading: &mut Leading<'a, S>) -> Result<(), Lost> {
        let now = self.seams.clock().mono();
        if now < leading.next_beat {
            return Ok(());
        }
        leading.next_beat = now + Millis(lease_of(&leading.keeper.head.value).0 / 5);
        leading.keeper.beat(&leading.record.value.heard).await
    }

    /// An instance said that a higher term is about: head knows.
    async fn check_deposed(&self, leading: &mut Leading<'a, S>) -> bool {
        let heard = leading.record.value.heard.clone();
        matches!(leading.keeper.beat(&heard).await, Err(Lost::Deposed))
    }

    /// The instance is being ended: the next one need not wait until the lease is over. Where the store does not answer,
    /// it does.
    async fn resign(&self, mut leading: Leading<'a, S>) {
        let let_go = |head: &Head| Head { lease: None, ..head.clone() };
        if leading.keeper.edit(let_go).await.is_ok() {
            let others = leading.observer.members().filter(|id| **id != self.who.id);
            // Who does not hear of it sees it with its next look.
            join_all(others.map(|id| self.seams.peers().poke(id))).await;
        }
    }

    async fn wait_for_news(
        &mut self,
        leading: &mut Leading<'a, S>,
        commands: &mut mpsc::Receiver<Command>,
    ) -> ControlFlow<()> {
        let soonest = leading.next_beat.min(self.seams.clock().mono() + self.tick(leading));
        let timer = self.seams.clock().until(soonest).fuse();
        let command = {
            let seen = leading.observer.next().fuse();
            pin_mut!(timer, seen);
            select_biased! {
                command = commands.next() => match command {
                    // Nobody can say anything any more: the agent ends.
                    None => return ControlFlow::Break(()),
                    said => said,
                },
                () = seen => None,
                () = timer => None,
            }
        };
        match command {
            None | Some(Command::Look) => {}
            Some(Command::Tried(tried)) => self.trial.note(tried),
            Some(Command::Resign) => return ControlFlow::Break(()),
            // Head is read by the next beat, which is due now.
            Some(Command::Poke) => leading.next_beat = self.seams.clock().mono(),
            Some(Command::Say { say, by, deployment, id, reply }) => {
                let said = self.say(say, by, deployment, id).await;
                leading.next_beat = self.seams.clock().mono();
                let _ = reply.send(said);
            }
            Some(Command::Deploy { request, reply }) => {
                let _ = reply.send(self.refuse(leading, &request));
            }
        }
        ControlFlow::Continue(())
    }

    /// Renewals must not wait for the ordinary tick.
    fn tick(&self, leading: &Leading<'a, S>) -> Millis {
        match leading.record.value.state {
            State::Holding => Millis((leading.record.value.policy.lapse.0 / 4).clamp(1, TICK.0)),
            _ => TICK,
        }
    }

    fn refuse(
        &self,
        leading: &Leading<'a, S>,
        request: &Request,
    ) -> Result<everup_core::ids::DeploymentId, Refused> {
        let head = &leading.keeper.head.value;
        if let Some(same) = same(head, request)? {
            return Ok(same);
        }
        let current = head.current.clone().ok_or(Refused::NothingRuns)?;
        Err(Refused::Busy { current: Box::new(current), phase: leading.record.value.state })
    }

    fn show_end(&mut self, leading: &Leading<'a, S>) {
        self.record = Some(leading.record.value.clone());
        self.show(Some(leading.keeper.head.value.clone()), Some(&leading.observer), None);
    }
}

/// Whom this very revision grants something.
fn granted_now(next: &Record) -> Vec<InstanceId> {
    let now = |entry: &everup_core::record::Entry| {
        entry.granted.as_ref().is_some_and(|grant| grant.fence == next.fence())
    };
    next.instances.iter().filter(|(_, entry)| now(entry)).map(|(id, _)| id.clone()).collect()
}
