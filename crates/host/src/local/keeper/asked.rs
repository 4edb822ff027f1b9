//! What others ask of the keeper.

use super::super::house::House;
use super::super::ledger::{Seat, Who};
use super::super::wire::{Answer, Ask, Fleet, Info};
use super::Keeping;
use everup_core::ids::InstanceId;
use everup_core::seams::Clock;
use rustix::process::Signal;

impl<H: House + 'static, C: Clock> Keeping<H, C> {
    /// The operator's signal; the second one means it.
    pub(super) fn interrupted(&mut self) {
        if self.ledger.closing {
            tracing::warn!("ending at once");
            self.end_at_once();
        } else {
            self.close();
        }
    }

    fn close(&mut self) {
        tracing::info!("everything is being ended");
        self.ledger.closing = true;
        self.ledger.seq += 1;
    }

    fn end_at_once(&mut self) {
        self.at_once = true;
        self.hasty.extend(self.ledger.seats.keys().cloned());
        for id in self.ledger.seats.keys() {
            self.children.signal(&Who::Agent(id.clone()), Signal::KILL);
        }
    }

    /// Answers.
    pub(super) fn asked(&mut self, ask: Ask) -> Answer {
        match ask {
            Ask::Info => Answer::Info(self.info()),
            Ask::Members { .. } => Answer::Fleet(Fleet::clone(&self.fleet.borrow())),
            Ask::Resize { to } => self.resize(to),
            Ask::Protect { id, on } => self.protect(&id, on),
            Ask::Terminate { id, at_once } => self.terminate(&id, at_once),
            Ask::Down { at_once } => self.down(at_once),
        }
    }

    fn resize(&mut self, to: u32) -> Answer {
        let (min, max) = (self.settings.fleet.min, self.settings.fleet.max);
        if !(min..=max).contains(&to) {
            return Answer::Refused(format!(
                "the fleet has {min} to {max} instances ([fleet] min, max), not {to}"
            ));
        }
        if self.ledger.desired != Some(to) {
            self.ledger.desired = Some(to);
            self.ledger.seq += 1;
        }
        Answer::Done
    }

    fn protect(&mut self, id: &InstanceId, on: bool) -> Answer {
        match self.ledger.seats.get_mut(id) {
            Some(seat) if seat.terminating && on => Answer::Refused(format!("{id} is already being ended")),
            Some(seat) => {
                seat.protected = on;
                Answer::Done
            }
            None => unknown(id),
        }
    }

    fn terminate(&mut self, id: &InstanceId, at_once: bool) -> Answer {
        match self.ledger.seats.get(id) {
            Some(Seat { protected: true, .. }) if !at_once => Answer::Refused(protected(id)),
            Some(_) => {
                self.end(id, at_once);
                Answer::Done
            }
            None => unknown(id),
        }
    }

    fn down(&mut self, at_once: bool) -> Answer {
        let guarded = self.ledger.staying().find(|(_, seat)| seat.protected);
        if let Some((id, _)) = guarded.filter(|_| !at_once) {
            return Answer::Refused(protected(id));
        }
        if !self.ledger.closing {
            self.close();
        }
        if at_once {
            self.end_at_once();
        }
        Answer::Done
    }

    fn info(&self) -> Info {
        let mut ledger = self.ledger.clone();
        let processes = self.present.running.iter().filter_map(|who| {
            let process = ledger.process(who)?.as_ref()?;
            Some((who.to_string(), process.pid))
        });
        Info {
            pid: std::process::id(),
            since: self.since,
            service: self.settings.listen.address.to_string(),
            processes: processes.collect(),
            fleet: self.told(),
            protected: self
                .ledger
                .staying()
                .filter(|(_, seat)| seat.protected)
                .map(|(id, _)| id.clone())
                .collect(),
        }
    }
}

fn protected(id: &InstanceId) -> String {
    format!("{id} is protected: it runs a migration, or is about to; wait for its end")
}

fn unknown(id: &InstanceId) -> Answer {
    Answer::Refused(format!("there is no instance {id}"))
}
