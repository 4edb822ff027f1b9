//! Where everything meets: the seams of one instance made of host, proxy, release, web and cloud, and the agent that
//! the engine lives in.

pub mod agent;
mod board;
pub mod fleet;
pub mod house;
mod library;
mod meter;
pub mod places;
mod probing;
pub mod ready;
mod runtime;

use crate::store::Opened as AnyStore;
use everup_core::seams::Seams;
use everup_host::clock::{KernelChance, TokioClock};
use everup_host::journal::FileJournal;
use everup_host::runtime::ProcessRuntime;
use everup_host::stage::Releases;
use everup_proxy::control::SlotGate;
use everup_web::peers::HttpPeers;
use fleet::LocalFleet;
use meter::LocalMeter;

/// All seams of one instance on this machine.
pub struct Machine {
    store: AnyStore,
    peers: HttpPeers,
    fleet: LocalFleet,
    gate: SlotGate,
    runtime: ProcessRuntime,
    stage: Releases<AnyStore>,
    journal: FileJournal,
    meter: LocalMeter,
    clock: TokioClock,
    chance: KernelChance,
}

impl Seams for Machine {
    type Store = AnyStore;
    type Peers = HttpPeers;
    type Fleet = LocalFleet;
    type Gate = SlotGate;
    type Runtime = ProcessRuntime;
    type Stage = Releases<AnyStore>;
    type Journal = FileJournal;
    type Meter = LocalMeter;
    type Clock = TokioClock;
    type Chance = KernelChance;

    fn store(&self) -> &AnyStore {
        &self.store
    }

    fn peers(&self) -> &HttpPeers {
        &self.peers
    }

    fn fleet(&self) -> &LocalFleet {
        &self.fleet
    }

    fn gate(&self) -> &SlotGate {
        &self.gate
    }

    fn runtime(&self) -> &ProcessRuntime {
        &self.runtime
    }

    fn stage(&self) -> &Releases<AnyStore> {
        &self.stage
    }

    fn journal(&self) -> &FileJournal {
        &self.journal
    }

    fn meter(&self) -> &LocalMeter {
        &self.meter
    }

    fn clock(&self) -> &TokioClock {
        &self.clock
    }

    fn chance(&self) -> &KernelChance {
        &self.chance
    }
}
