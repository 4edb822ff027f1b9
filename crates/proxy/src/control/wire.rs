//! The control protocol: one JSON document a line each way over a Unix socket, one answer a command, in order.
//!
//! Every command may be repeated: doing what is done already changes nothing. Commands that wait have an end of
//! their own, `within`; who hangs up before takes the wait back, not what it waits for.

use everup_core::gate::{Counts, Drain, Hold, Upstream};
use everup_core::ids::{HoldId, InstanceId, Zone};
use everup_core::receipt::Window;
use everup_core::time::{Millis, Wall};
use serde::{Deserialize, Serialize};

/// The longest line that either side reads.
pub(crate) const LONGEST_LINE: u64 = 4 << 20;

/// What a proxy is told.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", tag = "do")]
pub(crate) enum Command {
    Hello,
    AddSlot(NewSlot),
    RemoveSlot {
        id: InstanceId,
    },
    Join {
        id: InstanceId,
    },
    Leave {
        id: InstanceId,
    },
    Slots {
        since: u64,
        within: Millis,
    },
    Measure {
        window: Window,
    },
    Hold {
        id: InstanceId,
        hold: Hold,
    },
    Idle {
        id: InstanceId,
        within: Millis,
    },
    Seal {
        id: InstanceId,
        hold: Option<HoldId>,
    },
    Drain {
        id: InstanceId,
        drain: Drain,
    },
    Switch {
        id: InstanceId,
        to: Upstream,
    },
    Release {
        id: InstanceId,
    },
    Counts {
        id: InstanceId,
    },
    /// A successor is ready: accept no more. It hangs up if it fails, and then all is as before.
    HandOver,
    /// The successor serves: finish within this time, and end.
    HandedOver {
        within: Millis,
    },
    /// There is nothing behind it any more, and there will be no successor: send back whoever waits, finish within this
    /// time, and end.
    Close {
        within: Millis,
    },
}

impl Command {
    /// Whether it changes what gates do.
    pub(crate) const fn is_order(&self) -> bool {
        !matches!(
            self,
            Self::Hello
                | Self::Slots { .. }
                | Self::Measure { .. }
                | Self::Counts { .. }
                | Self::HandOver
                | Self::HandedOver { .. }
        )
    }
}

/// What it answers.
#[derive(Debug, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub(crate) enum Reply {
    /// Done; the value's form depends on the command.
    Done(serde_json::Value),
    /// Not done, for this reason; nothing changed.
    Refused(String),
}

/// What runs behind a control socket.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Hello {
    /// Its process.
    pub pid: u32,
    /// The version of its program.
    pub version: String,
    /// When it began.
    pub since: Wall,
    /// Whether it finishes its connections and then ends.
    pub retiring: bool,
}

/// A slot to be added. One that is there already stays as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct NewSlot {
    /// The instance before whose app it stands.
    pub id: InstanceId,
    /// Where that is.
    pub zone: Zone,
    /// The running app, to which the gate opens; without one the gate is shut, and requests wait for it.
    pub upstream: Option<Upstream>,
    /// Whether the balancer chooses it for new requests from the start.
    pub balanced: bool,
    /// What the upstream is.
    #[serde(default)]
    pub behind: Behind,
}

/// What a slot's upstream is.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Behind {
    /// An app, whose words are its own.
    #[default]
    App,
    /// A proxy of ours before the app, whose word about what it did counts.
    Proxy,
}

/// A slot as it is.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct SlotState {
    /// The instance.
    pub id: InstanceId,
    /// Where it is.
    pub zone: Zone,
    /// Whether the balancer chooses it for new requests.
    pub balanced: bool,
    /// Whether the last active check passed (true where there is none).
    pub healthy: bool,
    /// What its gate does and sees.
    pub counts: Counts,
    /// Where its gate sends.
    pub upstream: Option<Upstream>,
    /// The hold that its gate lives under.
    pub hold: Option<HoldId>,
}

/// All slots, numbered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Slots {
    /// Differs from any earlier one when a slot came, went, joined, left, fell ill, became well, or its gate changed
    /// what it does. Mere counts do not change it.
    pub seq: u64,
    /// By instance.
    pub slots: Vec<SlotState>,
}
