//! How the outside talks to an agent's engine: calls with a place for the answer.

use everup_core::deployment::State;
use everup_core::head::{Current, Request};
use everup_core::ids::{DeploymentId, InstanceId, Term, WriteId};
use everup_core::instance::View;
use everup_core::order::{Ack, Order};
use everup_core::record::{Say, Word};
use everup_core::release::ReleaseRef;
use everup_core::status::Status;
use everup_core::time::Millis;
use everup_core::words;
use futures_channel::{mpsc, oneshot};

/// The most calls that wait in an inbox; a sender waits when it is full.
pub const INBOX: usize = 64;

/// A call to the instance's procedure.
#[derive(Debug)]
pub enum Call {
    /// A coordinator greets.
    Greet {
        /// Its term.
        term: Term,
        /// Who it is.
        holder: InstanceId,
        /// Where the answer goes.
        reply: oneshot::Sender<Ack>,
    },
    /// A coordinator orders.
    Order {
        /// What.
        order: Box<Order>,
        /// Where the answer goes.
        reply: oneshot::Sender<Ack>,
    },
    /// Somebody wants to know, as soon as the view is newer than `since` (0: now).
    Watch {
        /// What the caller has.
        since: u64,
        /// Where the answer goes; dropped by a caller that gives up.
        reply: oneshot::Sender<View>,
    },
    /// The fleet's engine is about to end this instance: leave the balancer, drain, stop the app. The procedure
    /// ends after it has answered.
    Retire {
        /// Requests in flight get so long.
        within: Millis,
        /// Told when no app runs any more.
        reply: oneshot::Sender<()>,
    },
}

/// What an instance made of the release that it took as a newcomer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Tried {
    /// Which.
    pub release: ReleaseRef,
    /// Whether it has served for long enough to count as proof; else its app did not come up, or died before that.
    pub serves: bool,
}

/// A call to the part of the agent that can coordinate.
#[derive(Debug)]
pub enum Command {
    /// Start a deployment.
    Deploy {
        /// What was asked for.
        request: Box<Request>,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<DeploymentId, Refused>>,
    },
    /// Say something to the deployment that runs.
    Say {
        /// What.
        say: Say,
        /// Who says it.
        by: String,
        /// To which deployment; the one that runs if unset.
        deployment: Option<DeploymentId>,
        /// Names the word: said twice, it is heard once.
        id: Option<WriteId>,
        /// Where the answer goes.
        reply: oneshot::Sender<Result<Word, Refused>>,
    },
    /// This instance took a release as a newcomer: does it serve? It matters where an empty fleet took it unproven.
    Tried(Tried),
    /// Head changed: look now.
    Poke,
    /// This instance is being ended: let the lease go, and take none any more.
    Resign,
    /// Somebody wants to see the fleet: keep the board fresh for a while, though no deployment runs.
    Look,
}

/// Why a command was refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Refused {
    /// Another deployment runs.
    #[error("deployment {} to {} runs since {}, asked for by {}, now {phase}", .current.id, .current.request.to, words::moment(.current.request.at), .current.request.by)]
    Busy {
        /// Which.
        current: Box<Current>,
        /// Where it is.
        phase: State,
    },
    /// There is no deployment to say that to.
    #[error("no deployment runs")]
    NothingRuns,
    /// This instance is being ended, and coordinates nothing any more.
    #[error("this instance is being ended")]
    Ending,
    /// Not now, or not this.
    #[error("{0}")]
    Not(String),
    /// The store did not answer.
    #[error("the store does not answer: {0}")]
    Store(String),
}

/// Where the instance's calls go.
pub type Inbox = mpsc::Sender<Call>;

/// Where the coordinator's commands go.
pub type Commands = mpsc::Sender<Command>;

/// Where an agent's status is put whenever it changes. Wire-up turns it into a watch channel; the simulation keeps
/// the last one.
pub trait Board {
    /// The present status.
    fn show(&self, status: Status);
}
