//! What an earlier keeper left: what it noted, and what still runs of it.

use super::super::house::House;
use super::super::ledger::{FORM, Ledger, Who};
use super::super::owner;
use super::super::sockets::ListenError;
use super::{KeepError, Keeping};
use crate::proc::Identity;
use crate::settings::Settings;
use everup_core::ids::InstanceId;
use everup_core::seams::Clock;
use std::path::Path;

impl<H: House + 'static, C: Clock> Keeping<H, C> {
    /// Takes over what an earlier keeper left running.
    pub(super) fn adopt(&mut self) {
        let seats: Vec<InstanceId> = self.ledger.seats.keys().cloned().collect();
        let parts = seats.into_iter().flat_map(|id| [Who::Agent(id.clone()), Who::Proxy(id)]);
        for who in [Who::Balancer].into_iter().chain(parts) {
            let noted = self.ledger.process(&who).and_then(Option::take);
            if let Some(process) = noted {
                self.adopted(&who, &process);
            }
        }
        let ending = self.ledger.seats.iter().filter(|(_, seat)| seat.terminating);
        for id in ending.map(|(id, _)| id.clone()).collect::<Vec<_>>() {
            self.end(&id, false);
        }
    }

    /// Listens where the service is, unless the balancer does; one that was started and not noted is adopted.
    pub(super) fn open_service(&mut self) -> Result<(), KeepError> {
        if self.present.running.contains(&Who::Balancer) {
            return Ok(());
        }
        match self.sockets.copy(&Who::Balancer, self.settings.listen.address) {
            Err(ListenError::Taken { owner: Some(owner), .. }) if self.is_ours(&Who::Balancer, &owner) => {
                self.adopted(&Who::Balancer, &owner);
                Ok(())
            }
            other => Ok(other.map(drop)?),
        }
    }

    /// Whether a process is what `who` would be started as; the program's own path apart, which an upgrade changes.
    pub(super) fn is_ours(&self, who: &Who, process: &Identity) -> bool {
        let command = self.command(who);
        let wanted: Vec<_> = command.get_args().map(|word| word.to_string_lossy().into_owned()).collect();
        owner::arguments(process).ends_with(&wanted)
    }

    pub(super) fn adopted(&mut self, who: &Who, process: &Identity) -> Option<Identity> {
        if !self.children.adopt(who, process) {
            return None;
        }
        tracing::info!("{who} still runs as process {}", process.pid);
        self.present.retries.started(who, self.clock.mono());
        self.sockets.fetch(who, process, self.address(who));
        self.note(who, process.clone());
        Some(process.clone())
    }
}

/// What an earlier keeper knew. One that was told to end, and was killed before it had, goes on keeping: whoever
/// starts it again wants the fleet.
pub(super) fn load(settings: &Settings) -> Result<Ledger, KeepError> {
    let noted = Ledger::noted(&settings.run())?;
    let mut ledger = match noted {
        Some(ledger) => ledger,
        None => anew(&settings.state.join("instances")),
    };
    ledger.form = FORM;
    ledger.closing = false;
    ledger.seq += 1;
    Ok(ledger)
}

/// Without a ledger: a name that an instance had, as the folders show, is not given again.
fn anew(instances: &Path) -> Ledger {
    let names = std::fs::read_dir(instances).into_iter().flatten().flatten().map(|entry| entry.file_name());
    let last = names.filter_map(|name| name.to_str()?.strip_prefix('i')?.parse().ok()).max().unwrap_or(0);
    Ledger { last, complete: last == 0, ..Ledger::default() }
}
