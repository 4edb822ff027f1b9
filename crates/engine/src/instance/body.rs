//! What an instance knows of itself while it lives: its memory, its view, and who is waiting to hear of a change.

use crate::identity::Identity;
use crate::mailbox::{Call, Command, Commands, Tried};
use everup_core::gate::{Counts, Passing};
use everup_core::ids::{Fence, StartId, Term};
use everup_core::instance::{Goal, Memory, Phase, Problem, Running, View};
use everup_core::order::{Ack, Limits, Obeyed, Task};
use everup_core::release::ReleaseRef;
use everup_core::seams::{Chance, Clock, Gate, GateError, Journal, Runtime, Seams};
use everup_core::time::{Millis, Mono};
use futures_channel::{mpsc, oneshot};
use futures_util::{FutureExt, StreamExt, pin_mut, select_biased};
use std::cell::{Cell, RefCell};

/// A change of memory that the pursuit asks for. All changes go through one place, one after another, so that none
/// overwrites another; those of a dropped pursuit are forgotten with it.
pub(super) struct Edit {
    change: Box<dyn FnOnce(&mut Memory)>,
    done: oneshot::Sender<()>,
    /// Whether somebody beside the pursuit asks, which does not end with it.
    stays: bool,
}

/// How often a save that failed (a full disk) is tried again.
const RETRY_SAVE: Millis = Millis(1_000);

/// Beyond two intervals, a check may take so long before nothing is known of the app any more.
const STALE: Millis = Millis(12_000);

/// The most callers that wait for a change of the view.
const MOST_WATCHERS: usize = 64;

pub(super) struct Body<'a, S: Seams> {
    pub(super) seams: &'a S,
    pub(super) who: &'a Identity,
    memory: RefCell<Memory>,
    view: RefCell<View>,
    watchers: RefCell<Vec<(u64, oneshot::Sender<View>)>>,
    edits: mpsc::UnboundedSender<Edit>,
    coordinator: RefCell<Commands>,
    /// Whether head was read, or an order was taken, since the agent began: before that nothing may start.
    pub(super) confirmed: Cell<bool>,
    /// Whether head was read since the agent began: before that it obeys nobody.
    pub(super) informed: Cell<bool>,
    /// Whether a release is being made ready, beside all else.
    pub(super) stages: Cell<bool>,
    /// When the present hold lapses, by our own clock.
    pub(super) held_until: Cell<Mono>,
    /// Whether the fleet's engine may still be asked not to end this instance, because of a migration.
    pub(super) protected: Cell<bool>,
    /// Which start the gate sends to, as it said when it was asked, or took when it was told.
    sends_to: RefCell<Option<StartId>>,
    /// Whether it was told since the agent began.
    has_sent: Cell<bool>,
    /// Whether it is known what the gate does: not while it has not answered since the agent began, or since it was told to
    /// send to another app.
    gate_known: Cell<bool>,
    /// Whether the gate was told to open, and what came of it is not known: an order may end the pursuit between the two.
    opening: Cell<bool>,
    /// When the app that serves was checked last.
    pub(super) checked: Cell<Mono>,
    /// The last term in which somebody greeted or ordered.
    coordinated: Cell<Option<Term>>,
    /// Which start has proven itself, as its own coordinator was told.
    vouched: RefCell<Option<StartId>>,
}

impl<'a, S: Seams> Body<'a, S> {
    pub(super) fn new(
        seams: &'a S,
        who: &'a Identity,
        memory: Memory,
        coordinator: Commands,
    ) -> (Self, mpsc::UnboundedReceiver<Edit>) {
        let (edits, receiver) = mpsc::unbounded();
        let view = first_view(who, &memory, seams.chance().next());
        // An earlier run of the agent may have asked for it, and may not have taken it back.
        let protected = memory.migration.is_some();
        let body = Self {
            seams,
            who,
            memory: RefCell::new(memory),
            view: RefCell::new(view),
            watchers: RefCell::default(),
            edits,
            coordinator: RefCell::new(coordinator),
            confirmed: Cell::new(false),
            informed: Cell::new(false),
            stages: Cell::new(false),
            held_until: Cell::new(Mono::default()),
            protected: Cell::new(protected),
            sends_to: RefCell::default(),
            has_sent: Cell::new(false),
            gate_known: Cell::new(false),
            opening: Cell::new(false),
            checked: Cell::new(Mono::default()),
            coordinated: Cell::new(None),
            vouched: RefCell::default(),
        };
        (body, receiver)
    }

    /// Fills the view with what is found running, before the first call is answered.
    pub(super) async fn look_around(&self) {
        // A gate that does not answer keeps nobody waiting here, but whoever has to know whether it serves.
        let _ = self.look_at_gate().await;
        let apps = self.look_at_apps().await;
        self.see(|view| {
            view.running = !apps.is_empty();
            if let Some(app) = apps.first() {
                view.release = Some(app.release.clone());
            }
        });
    }

    /// What of ours runs; what the gate sends to comes first.
    pub(super) async fn look_at_apps(&self) -> Vec<Running> {
        let mut apps = self.seams.runtime().adopt().await.apps;
        apps.sort_by_key(|app| !self.sends_to(app));
        self.see(|view| view.doubled = apps.len() > 1);
        apps
    }

    /// Asks the gate what it does, where that is not known from what it was told.
    pub(super) async fn look_at_gate(&self) -> Result<(), GateError> {
        if !self.gate_known.get() {
            let Counts { passing, upstream, .. } = self.seams.gate().counts().await?;
            *self.sends_to.borrow_mut() = upstream;
            self.gate_is(passing);
        }
        Ok(())
    }

    pub(super) fn goal(&self) -> Option<Goal> {
        self.memory.borrow().goal.clone()
    }

    pub(super) fn memory(&self) -> Memory {
        self.memory.borrow().clone()
    }

    /// The fence of the order whose goal is being pursued. One to make a release ready is carried out beside the goal: an app
    /// that was started again meanwhile does not end it.
    pub(super) fn order_fence(&self) -> Fence {
        let memory = self.memory.borrow();
        let pursued = memory.order.as_ref().filter(|order| !matches!(order.task, Task::Stage { .. }));
        pursued.map(|order| order.fence).unwrap_or_default()
    }

    /// Why the last order was given up: said until the next one, also by an agent that has begun anew.
    pub(super) fn why_given_up(&self) -> Option<Problem> {
        self.memory.borrow().given_up.clone()
    }

    pub(super) fn now(&self) -> Mono {
        self.seams.clock().mono()
    }

    pub(super) async fn pause(&self, span: Millis) {
        self.seams.clock().until(self.now() + span).await;
    }

    pub(super) fn view(&self) -> View {
        self.view.borrow().clone()
    }

    /// What others are told. An agent that slept does not claim what it knew before: its app may have died since.
    pub(super) fn told(&self) -> View {
        let view = self.view();
        let age = self.now().since(self.checked.get());
        let is_tended = matches!(view.phase, Phase::Serving | Phase::Lingering);
        let is_stale = is_tended && age.0 > 2 * self.who.care.interval.0 + STALE.0;
        View { healthy: view.healthy && !is_stale, ..view }
    }

    /// Changes what others see of this instance; whoever waits for news is told.
    pub(super) fn see(&self, change: impl FnOnce(&mut View)) {
        let mut view = self.view.borrow_mut();
        let before = view.clone();
        change(&mut view);
        let memory = self.memory.borrow();
        view.fence = memory.fence;
        view.done = memory.done;
        view.migration.clone_from(&memory.migration);
        if *view == before {
            return;
        }
        if view.gate != before.gate {
            self.opening.set(false);
        }
        view.seq += 1;
        drop((view, memory));
        let now = self.told();
        for (_, waiting) in self.watchers.borrow_mut().drain(..) {
            // A caller that gave up is no trouble.
            let _ = waiting.send(now.clone());
        }
    }

    /// A new phase, and what it waits for in it.
    pub(super) fn phase(&self, phase: Phase, waiting: Option<String>) {
        self.see(|view| {
            view.phase = phase;
            view.waiting = waiting;
        });
    }

    /// The gate is about to be told to send to another app: until it has answered, nobody knows to which it sends.
    pub(super) fn will_send(&self) {
        *self.sends_to.borrow_mut() = None;
        self.gate_known.set(false);
        self.opening.set(true);
    }

    /// The gate sends to `app` from now on.
    pub(super) fn has_sent_to(&self, app: &Running) {
        *self.sends_to.borrow_mut() = Some(app.upstream.start.clone());
        self.has_sent.set(true);
    }

    /// Whether it is known to send to `app`.
    pub(super) fn sends_to(&self, app: &Running) -> bool {
        self.sends_to.borrow().as_ref() == Some(&app.upstream.start)
    }

    /// Whether this run of the agent told it to send to `app`: what else is found running was not there before.
    pub(super) fn was_sent_to(&self, app: &Running) -> bool {
        self.has_sent.get() && self.sends_to(app)
    }

    /// Whether the gate is open, or may be by now.
    pub(super) fn may_be_open(&self) -> bool {
        self.view().gate == Passing::Open || self.opening.get()
    }

    pub(super) fn gate_is(&self, passing: Passing) {
        self.gate_known.set(true);
        self.see(|view| view.gate = passing);
    }

    /// Answers once the view is newer than `since`.
    pub(super) fn watch(&self, since: u64, reply: oneshot::Sender<View>) {
        let view = self.told();
        let mut watchers = self.watchers.borrow_mut();
        if view.seq > since || since == 0 {
            let _ = reply.send(view);
            return;
        }
        watchers.retain(|(_, waiting)| !waiting.is_canceled());
        if watchers.len() >= MOST_WATCHERS {
            let _ = watchers.remove(0).1.send(view);
        }
        watchers.push((since, reply));
    }

    /// Asks for a change of memory and waits until it is saved. For the pursuit; it may be dropped meanwhile.
    pub(super) async fn remember(&self, change: impl FnOnce(&mut Memory) + 'static) {
        self.ask_to_remember(change, false).await;
    }

    /// The same for what goes on beside the pursuit.
    pub(super) async fn remember_beside(&self, change: impl FnOnce(&mut Memory) + 'static) {
        self.ask_to_remember(change, true).await;
    }

    async fn ask_to_remember(&self, change: impl FnOnce(&mut Memory) + 'static, stays: bool) {
        let (done, saved) = oneshot::channel();
        let edit = Edit { change: Box::new(change), done, stays };
        if self.edits.unbounded_send(edit).is_ok() {
            // Canceled only together with who asks.
            let _ = saved.await;
        }
    }

    /// Carries out what the pursuit asked for. It is not done before it is saved, however long that takes; whoever calls
    /// meanwhile is told why. Where the instance is to be ended, that call comes back.
    pub(super) async fn carry_out(&self, edit: Edit, inbox: &mut mpsc::Receiver<Call>) -> Option<Call> {
        let mut next = self.memory();
        (edit.change)(&mut next);
        while let Err(problem) = self.seams.journal().save(&next).await {
            self.see(|view| view.problem = Some(problem.clone()));
            let pause = self.pause(RETRY_SAVE).fuse();
            pin_mut!(pause);
            loop {
                select_biased! {
                    call = inbox.next() => match call {
                        Some(end @ Call::Retire { .. }) => return Some(end),
                        Some(call) => self.refuse(call, &problem),
                        None => return None,
                    },
                    () = pause => break,
                }
            }
        }
        *self.memory.borrow_mut() = next;
        self.see(|_| {});
        let _ = edit.done.send(());
        None
    }

    /// Answers a call that nothing can be done about while nothing can be written down.
    fn refuse(&self, call: Call, problem: &Problem) {
        match call {
            Call::Watch { since, reply } => self.watch(since, reply),
            Call::Greet { reply, .. } | Call::Order { reply, .. } => {
                let _ = reply.send(Ack { obeyed: Obeyed::Not(problem.to_string()), view: self.told() });
            }
            Call::Retire { .. } => {}
        }
    }

    /// Drops the changes that a dropped pursuit asked for: they speak of a goal that is over.
    pub(super) fn forget_edits(&self, edits: &mut mpsc::UnboundedReceiver<Edit>) {
        let mut kept = Vec::new();
        while let Ok(edit) = edits.try_recv() {
            kept.extend(Some(edit).filter(|edit| edit.stays));
        }
        for edit in kept {
            // The receiver is ours.
            let _ = self.edits.unbounded_send(edit);
        }
    }

    /// Saves `next` at once. For calls, which are answered between the steps of the pursuit.
    pub(super) async fn save(&self, next: Memory) -> Result<(), Problem> {
        self.save_and_see(next, |_| {}).await
    }

    /// The same, with what else the view says from then on. It is one change: a watcher that was told the new fence
    /// with the old problem took that for the new order's end.
    pub(super) async fn save_and_see(
        &self,
        next: Memory,
        change: impl FnOnce(&mut View),
    ) -> Result<(), Problem> {
        self.seams.journal().save(&next).await?;
        *self.memory.borrow_mut() = next;
        self.see(change);
        Ok(())
    }

    /// Tells this agent's own coordinator that somebody coordinates, so that it watches the lease.
    pub(super) fn somebody_coordinates(&self, term: Term) {
        let known = self.coordinated.get() == Some(term);
        if !known {
            self.coordinated.set(Some(term));
            // A full queue means that it is about to look anyway.
            let _ = self.coordinator.borrow_mut().try_send(Command::Poke);
        }
    }

    /// This agent is not to coordinate any more; who waits for a lease of its would wait in vain.
    pub(super) fn resign(&self) {
        // One that is gone leads nothing; where its queue is full they wait.
        let _ = self.coordinator.borrow_mut().try_send(Command::Resign);
    }

    /// Tells this agent's own coordinator, once, that `app`, which nobody had ordered, has proven itself.
    pub(super) fn vouch_for(&self, app: &Running) {
        let start = &app.upstream.start;
        if self.vouched.borrow().as_ref() == Some(start) {
            return;
        }
        let tried = Tried { release: app.release.clone(), serves: true };
        if self.coordinator.borrow_mut().try_send(Command::Tried(tried)).is_ok() {
            *self.vouched.borrow_mut() = Some(start.clone());
        }
    }

    /// Tells this agent's own coordinator that `release`, which nobody had ordered, does not serve here.
    pub(super) fn give_up_on(&self, release: &ReleaseRef) {
        let tried = Tried { release: release.clone(), serves: false };
        // Told again after the next attempt.
        let _ = self.coordinator.borrow_mut().try_send(Command::Tried(tried));
    }

    /// One's own limits, for what nobody ordered.
    pub(super) fn own_limits(&self) -> Limits {
        let care = &self.who.care;
        Limits { start: care.start, stop: care.stop, ..Limits::of(&self.who.policy) }
    }

    /// The release that it ran last, whether or not it runs now.
    pub(super) fn release(&self) -> Option<ReleaseRef> {
        self.memory.borrow().release.clone()
    }

    pub(super) fn ill(&self, problem: Problem) {
        self.see(|view| {
            view.phase = Phase::Ill;
            view.waiting = None;
            view.healthy = false;
            view.problem = Some(problem);
        });
    }
}

fn first_view(who: &Identity, memory: &Memory, run: u64) -> View {
    View {
        id: who.id.clone(),
        zone: who.zone.clone(),
        run,
        seq: 1,
        fence: memory.fence,
        phase: Phase::Announced,
        waiting: None,
        release: memory.release.clone(),
        running: false,
        doubled: false,
        done: memory.done,
        steady: false,
        staged: std::collections::BTreeSet::default(),
        gate: Passing::Shut,
        idle: false,
        healthy: false,
        hold: None,
        problem: memory.problem.clone().or_else(|| memory.given_up.clone()),
        migration: memory.migration.clone(),
        deaths: 0,
        fetched: None,
        objects: None,
    }
}
