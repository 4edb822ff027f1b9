//! Messages between hosts: lost, late, repeated, reordered, astray, one way only.

use super::Place;
use crate::fault::Fault;
use crate::moment::{Moment, leader};
use crate::trace::{HostNo, What};
use crate::world::host::number;
use crate::world::{Sim, agent};
use everup_core::ids::{Fence, InstanceId, Term};
use everup_core::instance::View;
use everup_core::order::{Ack, Obeyed, Order, Task};
use everup_core::seams::{PeerError, Peers};
use everup_core::time::Millis;
use everup_engine::mailbox::{Call, Command};
use futures_channel::oneshot;
use futures_util::future::{Either, select};
use std::pin::pin;

/// A caller waits so long for an answer.
const ANSWER: u64 = 5_000;
/// A long poll is answered after so long at the latest.
const POLL: u64 = 10_000;
/// Signatures are refused when the clocks differ by more.
const CLOCKS: u64 = 120_000;

/// What can be delivered again.
type Make<T> = Box<dyn Fn(oneshot::Sender<T>) -> Call>;

/// One message on its way: what it is, and what becomes of it.
struct Message<T> {
    make: Make<T>,
    fence: Fence,
    task: &'static str,
}

impl Place {
    /// Sends a message and waits for its answer.
    async fn exchange<T: 'static + Told>(
        &self,
        to: &InstanceId,
        message: Message<T>,
        patience: u64,
    ) -> Result<T, PeerError> {
        self.check_clocks(to)?;
        let lost = self.strikes(Fault::MessageLost);
        let answer_lost = self.strikes(Fault::MessageLost);
        let late = self.strikes(Fault::MessageLate);
        let delay = if late { self.draw(200, 8_000) } else { self.draw(1, 15) };
        let back = self.draw(1, 15);
        if self.strikes(Fault::MessageRepeated) {
            self.repeat(to, &message);
        }
        let (answer, answered) = oneshot::channel();
        let (sim, from, to_id) = (self.sim.clone(), self.no, to.clone());
        self.sim.spawn(async move {
            sim.sleep(delay).await;
            if lost || !reaches(&sim, from, &to_id) {
                // Nobody says that a message is lost: the caller waits in vain.
                sim.sleep(patience).await;
                return;
            }
            let Some(got) = deliver(&sim, &to_id, &message).await else { return };
            sim.sleep(back).await;
            if answer_lost || !reaches_back(&sim, &to_id, from) {
                sim.sleep(patience).await;
                return;
            }
            drop(answer.send(got));
        });
        let silent = |why: &str| PeerError::Silent(to.clone(), why.to_owned());
        match select(answered, pin!(self.sim.sleep(patience))).await {
            Either::Left((Ok(got), _)) => Ok(got),
            Either::Left((Err(_), _)) => Err(silent("the connection was closed")),
            Either::Right(_) => Err(silent("no answer in time")),
        }
    }

    /// Notes what its agent knows from now on.
    fn heard(&self, of: &InstanceId, view: Option<&View>) {
        let Some(view) = view else { return };
        let mut world = self.sim.world();
        let now = world.now();
        world.law.told.hear(self.no, of, view, now);
    }

    fn check_clocks(&self, to: &InstanceId) -> Result<(), PeerError> {
        let mut world = self.sim.world();
        let Some(there) = world.hosts.get(to) else {
            return Err(PeerError::Silent(to.clone(), "no such address".to_owned()));
        };
        let apart = there.clock_off.abs_diff(world.hosts[&self.id].clock_off);
        if apart > CLOCKS && there.alive {
            if leader(&world) == Some(self.no) {
                world.moments.note(Moment::ClocksApart);
            }
            return Err(PeerError::Clock(to.clone(), Millis(apart)));
        }
        Ok(())
    }

    /// A copy of it arrives once more, much later, perhaps at another host.
    fn repeat<T: 'static + Told>(&self, to: &InstanceId, message: &Message<T>) {
        let delay = self.draw(10, 110_000);
        let astray = self.strikes(Fault::MessageAstray);
        let (ignored, nobody) = oneshot::channel();
        let (call, fence, task) = ((message.make)(ignored), message.fence, message.task);
        let (sim, from, mut to) = (self.sim.clone(), self.no, to.clone());
        self.sim.spawn(async move {
            sim.sleep(delay).await;
            let meant = to.clone();
            if astray && matches!(call, Call::Order { .. }) {
                to = another(&sim, &to);
            }
            if reaches(&sim, from, &to) {
                if to != meant {
                    sim.world().moments.note(Moment::OrderAstray);
                }
                let lower = arrives(&sim, &to, fence, task);
                agent::call(&sim, &to, call);
                if let Ok(got) = nobody.await {
                    got.tell(&sim, &to, fence, lower);
                }
            }
        });
    }
}

/// Where an address was given to another host.
fn another(sim: &Sim, than: &InstanceId) -> InstanceId {
    let mut world = sim.world();
    let others: Vec<InstanceId> = world
        .hosts
        .values()
        .filter(|host| host.alive && host.id != *than)
        .map(|host| host.id.clone())
        .collect();
    world.host(than).rng.pick(&others).unwrap_or_else(|| than.clone())
}

/// Puts the call into the inbox and waits for the answer; nothing if the agent dies first.
async fn deliver<T: Told>(sim: &Sim, to: &InstanceId, message: &Message<T>) -> Option<T> {
    let (reply, answer) = oneshot::channel();
    let (fence, task) = (message.fence, message.task);
    let lower = arrives(sim, to, fence, task);
    agent::call(sim, to, (message.make)(reply));
    let got = answer.await.ok()?;
    got.tell(sim, to, fence, lower);
    Some(got)
}

/// Notes that it came; whether the journal holds a higher fence already. A greeting only has a term.
fn arrives(sim: &Sim, to: &InstanceId, fence: Fence, task: &'static str) -> bool {
    let mut world = sim.world();
    if task != "watch" {
        world.on(to, What::Delivered { fence, task });
    }
    let stored = world.host(to).journal.as_ref().map(|memory| memory.fence).unwrap_or_default();
    if task == "greet" { fence.term < stored.term } else { fence < stored }
}

/// An answer that the rules want to see.
trait Told {
    fn tell(&self, sim: &Sim, by: &InstanceId, fence: Fence, lower: bool);
}

impl Told for Ack {
    fn tell(&self, sim: &Sim, by: &InstanceId, fence: Fence, lower: bool) {
        let obeyed = match self.obeyed {
            Obeyed::Yes => "yes",
            Obeyed::Already => "already",
            Obeyed::Older(_) => "older",
            Obeyed::Not(_) => "not",
        };
        sim.world().on(by, What::Answered { fence, obeyed, lower });
    }
}

impl Told for View {
    fn tell(&self, _: &Sim, _: &InstanceId, _: Fence, _: bool) {}
}

fn reaches(sim: &Sim, from: HostNo, to: &InstanceId) -> bool {
    let world = sim.world();
    number(to).is_some_and(|to| !world.cut.contains(&(from, to))) && world.hosts[to].alive
}

fn reaches_back(sim: &Sim, from: &InstanceId, to: HostNo) -> bool {
    let world = sim.world();
    number(from).is_some_and(|from| !world.cut.contains(&(from, to))) && world.host_no(to).alive
}

fn word(task: &Task) -> &'static str {
    match task {
        Task::Stage { .. } => "stage",
        Task::Update { .. } => "update",
        Task::TakeBack => "take back",
        Task::Hold { .. } => "hold",
        Task::Seal { .. } => "seal",
        Task::Migrate { .. } => "migrate",
        Task::Start { .. } => "start",
    }
}

impl Peers for Place {
    async fn greet(&self, to: &InstanceId, term: Term, holder: &InstanceId) -> Result<Ack, PeerError> {
        let holder = holder.clone();
        let make: Make<Ack> = Box::new(move |reply| Call::Greet { term, holder: holder.clone(), reply });
        self.sim.world().law.told.greet(self.no, to);
        let message = Message { make, fence: Fence::greeting(term), task: "greet" };
        let answer = self.exchange(to, message, ANSWER).await;
        // Who cannot take its greeting may still carry out an order of the term before: nobody builds on what it says.
        let took = |ack: &&Ack| matches!(ack.obeyed, Obeyed::Yes | Obeyed::Already);
        self.heard(to, answer.as_ref().ok().filter(took).map(|ack| &ack.view));
        answer
    }

    async fn order(&self, order: &Order) -> Result<Ack, PeerError> {
        let to = number(&order.to).unwrap_or(0);
        let task = word(&order.task);
        self.sim.world().law.sent = Some(order.clone());
        self.sim.world().on(&self.id, What::OrderSent { to, fence: order.fence, task });
        let copy = Box::new(order.clone());
        let make: Make<Ack> = Box::new(move |reply| Call::Order { order: copy.clone(), reply });
        let answer = self.exchange(&order.to, Message { make, fence: order.fence, task }, ANSWER).await;
        self.heard(&order.to, answer.as_ref().ok().map(|ack| &ack.view));
        answer
    }

    async fn watch(&self, id: &InstanceId, since: u64) -> Result<View, PeerError> {
        let ask = |since| {
            let make: Make<View> = Box::new(move |reply| Call::Watch { since, reply });
            Message { make, fence: Fence::default(), task: "watch" }
        };
        let answer = match self.exchange(id, ask(since), POLL).await {
            Err(PeerError::Silent(..)) if since > 0 => self.exchange(id, ask(0), ANSWER).await,
            answer => answer,
        };
        self.heard(id, answer.as_ref().ok());
        answer
    }

    async fn poke(&self, id: &InstanceId) -> Result<(), PeerError> {
        self.check_clocks(id)?;
        self.takes(1, 15).await;
        let lost = self.strikes(Fault::MessageLost);
        if !lost && reaches(&self.sim, self.no, id) && agent::command(&self.sim, id, Command::Poke) {
            return Ok(());
        }
        self.sim.sleep(if lost { ANSWER } else { 10 }).await;
        Err(PeerError::Silent(id.clone(), "no answer".to_owned()))
    }
}
