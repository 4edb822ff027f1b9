//! What the engine needs of the world, as small traits. Host, cloud, web and proxy implement them; the
//! simulation implements all of them.
//!
//! All futures may be dropped at any await: an implementation must leave nothing half-done that a repetition of
//! the same call would not complete. None has to be `Send`: an agent's engine lives on one thread.
#![expect(async_fn_in_trait, reason = "used through generics only; an agent's engine lives on one thread")]

use crate::fleet::Members;
use crate::gate::{Counts, Drain, Drained, Hold, Idle, NotHolding, Upstream};
use crate::ids::{HoldId, InstanceId, StartId, Term};
use crate::instance::{Exit, Found, Health, Memory, Outcome, Problem, Run, Running, Slot, View};
use crate::order::{Ack, Order};
use crate::receipt::{Sources, Window};
use crate::release::{Fetched, Manifest, ReleaseRef};
use crate::time::{Millis, Mono, Wall};

/// What one stored object was when it was read; opaque. Two different contents never have the same one as long
/// as each carries a fresh [`crate::ids::WriteId`].
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub struct Etag(pub String);

/// What a read found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Got {
    /// There is no such object.
    Missing,
    /// It is still what the caller has.
    Unchanged,
    /// The object.
    Found {
        /// To be handed to [`Store::replace`].
        etag: Etag,
        /// Its bytes.
        body: Vec<u8>,
    },
}

/// How a conditional write ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Wrote {
    /// It is stored, durably.
    Done(Etag),
    /// The condition did not hold. It may be one's own earlier success whose answer was lost: read, and look for
    /// one's own write id, before believing it.
    Lost,
}

/// The store did not say. A write may have happened, or may still happen: never act on "it did not succeed".
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{wanted}: {happened}")]
pub struct StoreError {
    /// What was wanted, with the key.
    pub wanted: String,
    /// What happened instead.
    pub happened: String,
}

/// The only state that instances share: S3 with conditional writes, or a folder.
pub trait Store {
    /// Reads `key`, or learns that it still has the etag `unless`.
    async fn get(&self, key: &str, unless: Option<&Etag>) -> Result<Got, StoreError>;
    /// All keys below `prefix`, sorted. It sees every write that ended before the call began.
    async fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError>;
    /// Writes `key` if it does not exist.
    async fn create(&self, key: &str, body: Vec<u8>) -> Result<Wrote, StoreError>;
    /// Writes `key` if it still has `etag`.
    async fn replace(&self, key: &str, etag: &Etag, body: Vec<u8>) -> Result<Wrote, StoreError>;
}

/// A message did not get through, or was refused by its receiver.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum PeerError {
    /// No answer. The message may have arrived, or may arrive later.
    #[error("no answer from {0}: {1}")]
    Silent(InstanceId, String),
    /// It answered that its clock or ours is off by this much.
    #[error("the clock of {0} and ours differ by {1}")]
    Clock(InstanceId, Millis),
    /// It answered and refused, for instance because the key is another.
    #[error("{0} refused: {1}")]
    Refused(InstanceId, String),
}

/// Messages from a coordinator to instances.
pub trait Peers {
    /// Makes the instance store `term`, so that it refuses every older order, and say what it has done. `holder`
    /// is who greets.
    async fn greet(&self, to: &InstanceId, term: Term, holder: &InstanceId) -> Result<Ack, PeerError>;
    /// Sends an order; an equal fence is answered with the present state and changes nothing, except that it
    /// renews a hold.
    async fn order(&self, order: &Order) -> Result<Ack, PeerError>;
    /// Waits until the instance's view is newer than `since`, or some seconds have passed.
    async fn watch(&self, id: &InstanceId, since: u64) -> Result<View, PeerError>;
    /// Tells `id` that head changed and is worth a look now (an operator's wish, a lease that was let go).
    async fn poke(&self, id: &InstanceId) -> Result<(), PeerError>;
}

/// The fleet did not answer.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct FleetError(pub String);

/// Who is in the fleet; and for the instance itself, its place in the load balancer.
pub trait Fleet {
    /// Waits until membership differs from the one numbered `since`, or some seconds have passed.
    async fn members(&self, since: u64) -> Result<Members, FleetError>;
    /// Takes this instance out of the load balancer; done when the balancer has accepted.
    async fn leave(&self) -> Result<(), FleetError>;
    /// Puts this instance into the load balancer; done when the balancer sends to it.
    async fn join(&self) -> Result<(), FleetError>;
    /// Asks the fleet's engine not to end this instance (a debt: taken back by whoever comes next).
    async fn protect(&self, on: bool) -> Result<(), FleetError>;
}

/// The gate did not answer (its process is being replaced). The call may be repeated.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct GateError(pub String);

/// What stands before this instance's app: its proxy, or its slot in the embedded balancer.
pub trait Gate {
    /// Begins a hold, or renews the one with the same id: new requests wait, those inside go on. It lapses by
    /// itself, into the running app, when not renewed in time.
    async fn hold(&self, hold: &Hold) -> Result<(), GateError>;
    /// Waits until nothing is in flight, or until `within` has passed. While the gate is open: nothing in the apps
    /// that it no longer sends to (after a [`Gate::switch`]).
    async fn idle(&self, within: Millis) -> Result<Idle, GateError>;
    /// Turns the living hold `id` into a seal, which ends by order only. Sealing what is sealed is done at once;
    /// without a hold (`None`) only a gate that has no upstream can be sealed.
    async fn seal(&self, id: Option<&HoldId>) -> Result<Result<(), NotHolding>, GateError>;
    /// Lets what is in flight end (each HTTP/1.1 answer says `Connection: close`), then shuts: later arrivals wait.
    /// Done when shut; at the deadline what remains is ended and counted.
    async fn drain(&self, drain: &Drain) -> Result<Drained, GateError>;
    /// From now on requests that pass go to `to`; those inside the old one go on there.
    async fn switch(&self, to: &Upstream) -> Result<(), GateError>;
    /// Opens: whatever was held, shut or sealed passes to the present upstream, oldest first and no faster than
    /// it answers.
    async fn release(&self) -> Result<(), GateError>;
    /// What the gate sees now.
    async fn counts(&self) -> Result<Counts, GateError>;
}

/// The processes of this instance's app.
pub trait Runtime {
    /// Starts `release` in `slot`, or in the other one if a stranger has that one's port and it is free. Done when the
    /// process runs, not when it is healthy. `start` names it from now on.
    async fn start(&self, release: &ReleaseRef, slot: Slot, start: &StartId) -> Result<Running, Problem>;
    /// TERM to the whole process tree, KILL at the deadline; done when no process of it lives.
    async fn stop(&self, running: &Running, deadline: Millis) -> Exit;
    /// What of ours runs on this machine: only what agrees in PID, start time and boot id. What was told to stop does
    /// not run any more: its end is waited for.
    async fn adopt(&self) -> Found;
    /// One health check: does it answer, is the answer from a process of this start, and which version does it say?
    async fn check(&self, running: &Running) -> Result<Health, Problem>;
    /// Whether the machine has room for a second app beside `running`; the error says what is missing.
    async fn room_beside(&self, running: &Running) -> Result<(), String>;
    /// Waits until the app has ended.
    async fn exited(&self, running: &Running) -> Exit;
    /// Runs a migration to its end, or, if it was begun under this run before, waits for that one's end. Never
    /// begins a run a second time.
    async fn run_once(&self, run: &Run) -> Outcome;
    /// Settles whether `run` was begun on this machine: if it was not, it never will be.
    async fn settle(&self, run: &Run) -> Option<Outcome>;
}

/// Releases on this instance's disk.
pub trait Stage {
    /// Reads a release's manifest from the store, and checks it.
    async fn manifest(&self, release: &ReleaseRef) -> Result<Manifest, Problem>;
    /// Makes `release` complete and verified on disk, beside the running one; says what that cost.
    async fn ensure(&self, release: &ReleaseRef) -> Result<Fetched, Problem>;
    /// Looks whether `release` is on disk, complete and unchanged.
    async fn verify(&self, release: &ReleaseRef) -> Result<(), Problem>;
    /// Removes releases that are neither in `keep` nor in use.
    async fn prune(&self, keep: &[ReleaseRef]);
}

/// This instance's memory across restarts.
pub trait Journal {
    /// What was saved last; the empty memory on a new instance.
    async fn load(&self) -> Result<Memory, Problem>;
    /// Saves, synced: after a crash either the old or the new one is there, whole.
    async fn save(&self, memory: &Memory) -> Result<(), Problem>;
}

/// What was measured of the requests.
pub trait Meter {
    /// What each source saw in `window`, and what it missed; what it saw from `settled` on, when the last instance had
    /// arrived, as "after".
    async fn measure(&self, window: Window, settled: Option<Wall>) -> Sources;
}

/// The clocks of this process.
pub trait Clock {
    /// Monotonic, for every decision.
    fn mono(&self) -> Mono;
    /// Wall time, for people.
    fn wall(&self) -> Wall;
    /// Waits until the monotonic clock has reached `at`.
    async fn until(&self, at: Mono);
}

/// Where chance comes from.
pub trait Chance {
    /// The next 64 random bits.
    fn next(&self) -> u64;
}

/// All seams of one instance, in one place.
pub trait Seams {
    /// The shared store.
    type Store: Store;
    /// The other instances.
    type Peers: Peers;
    /// The fleet and its balancer.
    type Fleet: Fleet;
    /// The gate before the app.
    type Gate: Gate;
    /// The app's processes.
    type Runtime: Runtime;
    /// Releases on disk.
    type Stage: Stage;
    /// Memory across restarts.
    type Journal: Journal;
    /// What was measured.
    type Meter: Meter;
    /// Time.
    type Clock: Clock;
    /// Chance.
    type Chance: Chance;

    /// The shared store.
    fn store(&self) -> &Self::Store;
    /// The other instances.
    fn peers(&self) -> &Self::Peers;
    /// The fleet and its balancer.
    fn fleet(&self) -> &Self::Fleet;
    /// The gate before the app.
    fn gate(&self) -> &Self::Gate;
    /// The app's processes.
    fn runtime(&self) -> &Self::Runtime;
    /// Releases on disk.
    fn stage(&self) -> &Self::Stage;
    /// Memory across restarts.
    fn journal(&self) -> &Self::Journal;
    /// What was measured.
    fn meter(&self) -> &Self::Meter;
    /// Time.
    fn clock(&self) -> &Self::Clock;
    /// Chance.
    fn chance(&self) -> &Self::Chance;
}
