//! The keeper's house: its children are other modes of this very program.

use super::places::Places;
use super::runtime;
use everup_core::ids::InstanceId;
use everup_core::instance::Exit;
use everup_core::seams::Runtime;
use everup_core::time::Millis;
use everup_host::local::house::House;
use everup_host::local::ledger::{Seat, Who};
use everup_host::settings::Settings;
use everup_host::stage::Pinned;
use everup_proxy::control::Client;
use std::ffi::OsString;
use std::future::Future;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

/// The app has ended, so nobody waits for it: this is for answers on their way.
const LAST_ANSWERS: Millis = Millis(1_000);

/// A balancer that is being started again answers within seconds; it is asked so often, and after so long each time.
const LEAVES: u32 = 25;
const LEAVE_AGAIN: Duration = Duration::from_millis(200);

/// The fleet of `settings`, by this program.
#[derive(Debug, Clone)]
pub struct Ourselves {
    settings: Settings,
    places: Places,
}

impl Ourselves {
    /// Of these settings.
    #[must_use]
    pub fn new(settings: &Settings) -> Self {
        Self { settings: settings.clone(), places: Places::of(settings) }
    }
}

/// This program; if it was replaced on disk since it was started, the old one, which fits what runs.
#[must_use]
pub fn program() -> PathBuf {
    std::env::current_exe().ok().filter(|path| path.exists()).unwrap_or_else(|| "/proc/self/exe".into())
}

impl House for Ourselves {
    fn command(&self, who: &Who, seat: Option<&(InstanceId, Seat)>) -> Command {
        let mut command = Command::new(program());
        let mode = if matches!(who, Who::Agent(_)) { "agent" } else { "proxy" };
        command.arg(mode).arg("--settings").arg(self.places.settings());
        if let Some((id, seat)) = seat {
            let words: [OsString; 6] = [
                "--instance".into(),
                id.as_str().into(),
                "--zone".into(),
                seat.zone.as_str().into(),
                "--port".into(),
                seat.port.to_string().into(),
            ];
            command.args(words);
        }
        command
    }

    fn sweep(&self, id: &InstanceId, seat: &Seat, at_once: bool) -> impl Future<Output = ()> + 'static {
        let (ours, id, seat) = (self.clone(), id.clone(), seat.clone());
        async move {
            ours.leave(&id).await;
            ours.stop(&id, &seat, at_once).await;
            if seat.proxy.is_some() {
                ours.close(&id, at_once).await;
            }
        }
    }
}

impl Ourselves {
    /// Takes an instance's slot out of the balancer: from here on nothing is sent to its app. A balancer that is being
    /// started again is asked again: the slot would send to whoever gets the instance's ports next.
    async fn leave(&self, id: &InstanceId) {
        let balancer = Client::new(self.places.balancer().control);
        for attempt in 1..=LEAVES {
            match balancer.remove_slot(id).await {
                Ok(()) => return,
                Err(error) if attempt == LEAVES => {
                    tracing::warn!("the slot of {id} stays in the balancer: {error}");
                }
                Err(_) => tokio::time::sleep(LEAVE_AGAIN).await,
            }
        }
    }

    /// Has its own proxy end, which sends back whoever waits there.
    async fn close(&self, id: &InstanceId, at_once: bool) {
        let within = if at_once { Millis::ZERO } else { LAST_ANSWERS };
        if let Err(error) = everup_proxy::close(&self.places.proxy(id), within).await {
            tracing::warn!("the proxy of {id} does not end by itself: {error}");
        }
    }

    /// Ends what its agent did not.
    async fn stop(&self, id: &InstanceId, seat: &Seat, at_once: bool) {
        let staged = Pinned::none(&self.places.releases());
        let runtime = runtime::of(&self.settings, id, &seat.zone, seat.block(), staged);
        let deadline = if at_once { Millis::ZERO } else { self.settings.app.stop };
        for app in runtime.adopt().await.apps {
            let Exit { how, .. } = runtime.stop(&app, deadline).await;
            tracing::info!("the app of {id} was still running, and was stopped: {how}");
        }
    }
}
