//! Where everything of a fleet is on this machine: the names below the state folder, in one place.

use everup_core::ids::InstanceId;
use everup_host::settings::Settings;
use std::path::{Path, PathBuf};

/// The names below one state folder.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Places(PathBuf);

impl Places {
    /// Those of `settings`.
    #[must_use]
    pub fn of(settings: &Settings) -> Self {
        Self(settings.state.clone())
    }

    /// Control sockets, and what the keeper tells others.
    #[must_use]
    pub fn run(&self) -> PathBuf {
        self.0.join("run")
    }

    /// The settings as the keeper resolved them, for its children.
    #[must_use]
    pub fn settings(&self) -> PathBuf {
        self.run().join("settings.json")
    }

    /// What a keeper in the background says.
    #[must_use]
    pub fn keeper_log(&self) -> PathBuf {
        self.run().join("keeper.log")
    }

    /// The keys that sign the fleet's messages.
    #[must_use]
    pub fn keys(&self) -> PathBuf {
        self.0.join("keys.json")
    }

    /// Unpacked releases, shared by the instances.
    #[must_use]
    pub fn releases(&self) -> PathBuf {
        self.0.join("releases")
    }

    /// The balancer's control socket and its state.
    #[must_use]
    pub fn balancer(&self) -> everup_proxy::Places {
        proxy(&self.run(), "balancer")
    }

    /// One instance's folder.
    #[must_use]
    pub fn instance(&self, id: &InstanceId) -> PathBuf {
        self.0.join("instances").join(id.as_str())
    }

    /// The control socket and the state of an instance's own proxy.
    #[must_use]
    pub fn proxy(&self, id: &InstanceId) -> everup_proxy::Places {
        proxy(&self.instance(id), "proxy")
    }
}

fn proxy(folder: &Path, name: &str) -> everup_proxy::Places {
    everup_proxy::Places {
        control: folder.join(format!("{name}.sock")),
        state: folder.join(format!("{name}.json")),
    }
}
