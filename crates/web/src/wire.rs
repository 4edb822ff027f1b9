//! What travels in the API's bodies, beside the documents of `everup_core`.

use everup_core::deployment::State;
use everup_core::head::{Current, TakeBack};
use everup_core::ids::{DeploymentId, Environment, InstanceId, MigrationId, Term, Version, WriteId};
use everup_core::policy::Policy;
use everup_core::record::Say;
use everup_core::release::{Digest, ReleaseRef};
use everup_core::status::Line;
use everup_core::time::Wall;
use serde::{Deserialize, Serialize};

/// `POST /v1/deployments`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Deploy {
    /// The release to move to.
    pub version: Version,
    /// How; the agent's own settings if unset.
    #[serde(default)]
    pub policy: Option<Policy>,
    /// Who asks.
    pub by: String,
    /// To a release from before the last migration, which is taken back: how.
    #[serde(default)]
    pub take_back: Option<TakeBack>,
    /// The same request sent twice is one deployment.
    #[serde(default)]
    pub idempotency: Option<String>,
}

/// A deployment has begun, or the one with the same idempotency key had.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Started {
    /// Which.
    pub deployment: DeploymentId,
    /// To what.
    pub to: ReleaseRef,
}

/// `POST /v1/deployments/{id}/words`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Words {
    /// What.
    pub say: Say,
    /// Who says it.
    pub by: String,
    /// Names it: sent twice, it is heard once. Unset: the request's nonce does.
    #[serde(default)]
    pub id: Option<WriteId>,
}

/// `POST /v1/peer/greet`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Greeting {
    /// The coordinator's term.
    pub term: Term,
    /// Who it is.
    pub holder: InstanceId,
}

/// `GET /version`: what this instance runs.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Runs {
    /// The version, once there is one.
    pub version: Option<Version>,
    /// The release's manifest.
    pub manifest: Option<Digest>,
    /// Who answers.
    pub instance: InstanceId,
    /// Of which environment.
    pub environment: Environment,
    /// Whether the instance is in service.
    pub in_service: bool,
}

/// `GET /v1/fleet`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fleet {
    /// How many the fleet's engine wants.
    pub desired: u32,
    /// Who coordinates.
    pub coordinator: Option<InstanceId>,
    /// The instances.
    pub instances: Vec<Line>,
}

/// A release in the store.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Published {
    /// Which.
    pub release: ReleaseRef,
    /// When it was published, by the publisher's clock.
    pub at: Wall,
    /// The bytes of its archive.
    pub bytes: u64,
    /// The migration that it brings.
    #[serde(default)]
    pub migration: Option<MigrationId>,
    /// Whether anything says how its app is started.
    pub starts: bool,
}

/// One line of `GET /v1/versions`.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct VersionLine {
    /// The release.
    pub release: ReleaseRef,
    /// When it was published.
    pub at: Wall,
    /// The bytes of its archive.
    pub bytes: u64,
    /// The migration that it brings.
    #[serde(default)]
    pub migration: Option<MigrationId>,
    /// How many instances run it.
    pub running: u32,
    /// Whether newcomers take it.
    pub newcomers: bool,
    /// Whether it is the last one that a fleet proved.
    pub proven: bool,
    /// Whether it must not run any more: a migration has changed the database since.
    pub forbidden: bool,
}

/// Why a release is refused whose app nobody knows how to start: found by the first instance, it would be a deployment
/// that failed.
pub const NO_START: &str = "nothing says how its app is started";

/// What to do about that.
pub const WAYS_TO_START: &str = "say it for all releases with `command` of [app] in everup.toml, or for this one with `command` of [start] in everup.release.toml (or --start)";

/// The kind of fault that says: the same request came before.
pub const REPLAYED: &str = "replayed";

/// The kind of fault that says: the request was meant for another instance.
pub const NOT_FOR_ME: &str = "not-for-me";

/// What an answer that is no success holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Fault {
    /// The kind, for programs: `busy`, `unknown-version`, `unsigned`, `clock`, …
    pub error: String,
    /// What was wanted and what happened, for people.
    pub message: String,
    /// What to do next.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub hint: Option<String>,
    /// For `unknown-version`: those with a similar name.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub near: Vec<Version>,
    /// For `busy`: what runs.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<Box<Current>>,
    /// For `busy`: where it is.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub phase: Option<State>,
    /// For `clock`: how far the request's creation lies ahead of the clock here; negative: behind it.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub differs_ms: Option<i64>,
    /// For `clock`: the clock here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub server_time: Option<Wall>,
}

impl Fault {
    /// A fault of this kind.
    #[must_use]
    pub fn new(error: &str, message: impl Into<String>) -> Self {
        Self { error: error.to_owned(), message: message.into(), ..Self::default() }
    }

    /// With what to do next.
    #[must_use]
    pub fn hint(mut self, hint: impl Into<String>) -> Self {
        self.hint = Some(hint.into());
        self
    }
}
