//! What of everup.toml has changed since the fleet of this machine was started with it.

use crate::wire_up::places::Places;
use everup_host::local::files;
use everup_host::settings::Settings;

/// The tables that differ from what the fleet runs with. `[deploy]` is read by each deployment, so it is none of them.
#[derive(Debug, Default)]
pub struct Changes {
    /// A running fleet can take them over.
    pub ready: Vec<&'static str>,
    /// They are the keeper's and the balancer's, which go on.
    pub fixed: Vec<&'static str>,
}

/// The settings that the fleet of these runs with, if it was ever started.
#[must_use]
pub fn running(now: &Settings) -> Option<Settings> {
    files::read(&Places::of(now).settings()).ok().flatten()
}

impl Changes {
    /// Between the settings of the running fleet and these.
    #[must_use]
    pub fn since_up(now: &Settings) -> Self {
        let Some(then) = running(now) else { return Self::default() };
        let ready = [
            ("[app]", then.app != now.app),
            ("[prober]", then.prober != now.prober),
            ("[log]", then.log != now.log),
        ];
        let fixed = [
            ("application", then.application != now.application),
            ("environment", then.environment != now.environment),
            ("[health]", then.health != now.health),
            ("[listen]", then.listen != now.listen),
            ("[fleet]", then.fleet != now.fleet),
            ("[hold]", then.deploy.hold != now.deploy.hold),
            ("[store]", then.store != now.store),
        ];
        let changed = |tables: &[(&'static str, bool)]| {
            tables.iter().filter(|(_, differs)| *differs).map(|(name, _)| *name).collect()
        };
        Self { ready: changed(&ready), fixed: changed(&fixed) }
    }

    /// What to tell somebody who may believe that they are in effect.
    #[must_use]
    pub fn told(&self) -> Option<String> {
        let all = [&self.ready[..], &self.fixed[..]].concat();
        if all.is_empty() {
            return None;
        }
        let how = if self.fixed.is_empty() {
            "`everup up` takes it over"
        } else {
            "it takes effect with `everup down` and `everup up`"
        };
        Some(format!("everup.toml has changed since the fleet was started ({}): {how}", all.join(", ")))
    }
}
