//! Who an agent is, and how it treats its app.

use everup_core::ids::{Environment, InstanceId, Zone};
use everup_core::instance::Care;
use everup_core::policy::Policy;

/// What an agent knows of itself from its own machine, before it has spoken to anybody.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Identity {
    /// Its instance.
    pub id: InstanceId,
    /// Where it is.
    pub zone: Zone,
    /// Of which environment.
    pub environment: Environment,
    /// How others reach its agent, `host:port`.
    pub address: String,
    /// How it judges its app.
    pub care: Care,
    /// The limits of an update that nobody ordered (a boot, a restart).
    pub policy: Policy,
}
