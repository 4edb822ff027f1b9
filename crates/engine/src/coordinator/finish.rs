//! The end of a deployment: what was measured goes into the record, then head lets go of it, then the mirror follows.

use super::keep::{Lost, lease_of};
use super::{Agent, Keeper};
use crate::mailbox::Board;
use crate::object::{Object, Swapped, swap};
use everup_core::ids::InstanceId;
use everup_core::plan::head_after;
use everup_core::receipt::{Receipt, Sources, Window};
use everup_core::record::{Arrival, Entry, PhaseEntry, Progress, Record, record_key};
use everup_core::release::Fetched;
use everup_core::seams::{Clock, Meter, Seams};
use everup_core::time::{Millis, Wall};
use futures_util::{FutureExt, pin_mut, select_biased};

impl<S: Seams, B: Board> Agent<'_, S, B> {
    /// Writes the receipt, frees head for the next deployment, and updates the mirror.
    pub(super) async fn finish(
        &mut self,
        keeper: &mut Keeper<'_, S>,
        record: &mut Object<Record>,
    ) -> Result<(), Lost> {
        if record.value.receipt.is_none() {
            self.write_receipt(keeper, record).await?;
        }
        let last = record.value.clone();
        keeper.edit(|head| head_after(head, &last)).await?;
        self.mirror.follow(self.seams, self.who).await;
        Ok(())
    }

    async fn write_receipt(
        &self,
        keeper: &mut Keeper<'_, S>,
        record: &mut Object<Record>,
    ) -> Result<(), Lost> {
        let window = Window { from: record.value.at, to: self.seams.clock().wall() };
        let sources = self.measured(keeper, &record.value, window).await?;
        let mut next = record.value.clone();
        next.rev = next.rev.next();
        next.waiting.clear();
        next.receipt = Some(receipt(&next, window, sources));
        let key = record_key(&self.who.environment, &next.id);
        match swap(self.seams, &key, Some(&record.etag), next).await.map_err(Lost::Store)? {
            Swapped::Done(written) => *record = written,
            Swapped::Rival(_) => return Err(Lost::Deposed),
        }
        Ok(())
    }

    /// Whoever is asked for figures may not answer for longer than the lease lasts: it is kept meanwhile, or one would
    /// take over after the other, and none would come to an end.
    async fn measured(
        &self,
        keeper: &mut Keeper<'_, S>,
        record: &Record,
        window: Window,
    ) -> Result<Sources, Lost> {
        let measured = self.seams.meter().measure(window, settled(record)).fuse();
        pin_mut!(measured);
        loop {
            let next_beat = self.seams.clock().mono() + Millis(lease_of(&keeper.head.value).0 / 5);
            let due = self.seams.clock().until(next_beat).fuse();
            pin_mut!(due);
            select_biased! {
                sources = measured => return Ok(sources),
                () = due => match keeper.beat(&record.heard).await {
                    // Where the store is away, the receipt cannot be written either; that is tried again.
                    Ok(()) | Err(Lost::Store(_)) => {}
                    Err(Lost::Deposed) => return Err(Lost::Deposed),
                },
            }
        }
    }
}

fn receipt(record: &Record, window: Window, sources: Sources) -> Receipt {
    let gates = sources.get("gates").cloned().unwrap_or_default();
    let prober = sources.get("prober").cloned().unwrap_or_default();
    Receipt {
        verdict: Receipt::verdict(&sources),
        requests: gates.requests,
        held: gates.held,
        longest_gap_ms: prober.longest_gap_ms,
        p50_ms: gates.p50_ms,
        p99_ms: gates.p99_ms,
        lowest_in_service: record.lowest_in_service,
        duration_ms: window.to.since(window.from).0,
        phases: phases(&record.phases),
        instances_ms: arrivals(record).map(|(id, arrival)| (id.clone(), arrival.took)).collect(),
        migration: record.schema_change(),
        bytes: record.instances.values().filter_map(|entry| entry.fetched).reduce(Fetched::with),
        sources,
    }
}

/// Who is where it was told to go, and since when.
fn arrivals(record: &Record) -> impl Iterator<Item = (&InstanceId, Arrival)> {
    let is_there = |entry: &Entry| matches!(entry.progress, Progress::Done | Progress::Back);
    let there = record.instances.iter().filter(move |(_, entry)| is_there(entry));
    there.filter_map(|(id, entry)| Some((id, entry.arrival?)))
}

/// When the last instance had arrived.
fn settled(record: &Record) -> Option<Wall> {
    arrivals(record).map(|(_, arrival)| arrival.at).max()
}

/// Each state until the next one was entered: also what passed while nobody coordinated is somebody's wait. The last
/// one is the end.
fn phases(entered: &[PhaseEntry]) -> Vec<(String, Millis)> {
    let pairs = entered.iter().zip(entered.iter().skip(1));
    pairs.map(|(phase, next)| (phase.state.to_string(), next.at.since(phase.at))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use everup_core::deployment::State;

    #[test]
    fn phases_are_as_long_as_the_deployment() {
        let entered =
            [(State::Pending, 0), (State::Staging, 5), (State::Rolling, 25), (State::Succeeded, 9_025)];
        let entered = entered.map(|(state, at)| PhaseEntry { state, at: Wall(at) });
        let expected = [("pending", 5), ("staging", 20), ("rolling", 9_000)];
        assert_eq!(phases(&entered), expected.map(|(state, ms)| (state.to_owned(), Millis(ms))));
    }
}
