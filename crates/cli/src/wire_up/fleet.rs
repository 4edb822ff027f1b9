//! The local fleet as an agent sees it: who is in it the keeper says, whom the balancer sends to the balancer says.
//!
//! Both are followed by long poll; while one of them is away (it is being replaced), what it said last stands.

use everup_core::fleet::Members;
use everup_core::ids::InstanceId;
use everup_core::seams::{Fleet, FleetError};
use everup_core::time::Millis;
use everup_host::local::client::Keeper;
use everup_host::local::wire;
use everup_proxy::control::{Client, ControlError, NewSlot, Slots};
use std::collections::BTreeSet;
use std::future::Future;
use std::sync::Arc;
use std::time::Duration;
use tokio::sync::watch;

/// A question about membership is answered after so long although nothing changed.
const LONG_POLL: Duration = Duration::from_secs(20);
/// How long the balancer waits before it answers that nothing changed.
const BALANCER_POLL: Millis = Millis::from_secs(20);
/// Before one that does not answer is asked again: it is being replaced, which takes some tens of milliseconds.
const PAUSE: Duration = Duration::from_millis(50);

/// The fleet, for one instance's engine.
#[derive(Debug, Clone)]
pub struct LocalFleet {
    slot: NewSlot,
    keeper: Keeper,
    balancer: Client,
    sight: Sight,
}

/// What is known of the fleet, always the latest.
#[derive(Debug, Clone)]
pub struct Sight(watch::Receiver<Arc<Seen>>);

/// What is known of the fleet.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Seen {
    /// Who is in it, with the balancer's part. Its `seq` is this process's own; 0 before the keeper was heard.
    pub members: Members,
}

/// The two halves, until they are merged.
#[derive(Debug, Default)]
struct Halves {
    kept: wire::Fleet,
    heard: bool,
    balanced: BTreeSet<InstanceId>,
}

impl Sight {
    /// Looks at the fleet; also the work of following it, which has to be run beside.
    pub fn follow(keeper: Keeper, balancer: Client) -> (Self, impl Future<Output = ()>) {
        let (shown, seen) = watch::channel(Arc::default());
        (Self(seen), follow(keeper, balancer, shown))
    }

    /// What is known now.
    #[must_use]
    pub fn now(&self) -> Arc<Seen> {
        Arc::clone(&self.0.borrow())
    }

    /// Waits until membership differs from the one numbered `since`, or some seconds have passed.
    ///
    /// # Errors
    /// When the keeper was not heard yet.
    pub async fn members(&self, since: u64) -> Result<Members, FleetError> {
        let mut seen = self.0.clone();
        let newer = seen.wait_for(|seen| seen.members.seq != since && seen.members.seq != 0);
        let _ = tokio::time::timeout(LONG_POLL, newer).await;
        match &self.0.borrow().members {
            Members { seq: 0, .. } => Err(FleetError("the keeper was not heard yet".to_owned())),
            members => Ok(members.clone()),
        }
    }

    /// Waits until the fleet is so.
    pub async fn until(&self, holds: impl Fn(&Members) -> bool) -> Members {
        let mut seen = self.0.clone();
        let fits = |seen: &Arc<Seen>| seen.members.seq != 0 && holds(&seen.members);
        match seen.wait_for(fits).await {
            Ok(seen) => seen.members.clone(),
            // Nobody follows the fleet any more: this process is ending.
            Err(_) => std::future::pending().await,
        }
    }
}

impl LocalFleet {
    /// The fleet, for the instance whose slot in the balancer is `slot`.
    #[must_use]
    pub const fn new(slot: NewSlot, keeper: Keeper, balancer: Client, sight: Sight) -> Self {
        Self { slot, keeper, balancer, sight }
    }

    /// Makes sure that the balancer has this instance's slot; one that it has stays as it is.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn ensure_slot(&self) -> Result<(), ControlError> {
        self.balancer.add_slot(&self.slot).await
    }

    /// Waits until the keeper wants this instance to end.
    pub async fn told_to_end(&self) {
        let mut seen = self.sight.0.clone();
        let ends =
            |seen: &Arc<Seen>| seen.members.members.get(&self.slot.id).is_some_and(|me| me.terminating);
        if seen.wait_for(ends).await.is_err() {
            // Nobody follows the fleet any more: this process is ending.
            std::future::pending::<()>().await;
        }
    }
}

impl Fleet for LocalFleet {
    async fn members(&self, since: u64) -> Result<Members, FleetError> {
        self.sight.members(since).await
    }

    async fn leave(&self) -> Result<(), FleetError> {
        self.balancer.leave(&self.slot.id).await.map_err(text)
    }

    async fn join(&self) -> Result<(), FleetError> {
        self.ensure_slot().await.map_err(text)?;
        self.balancer.join(&self.slot.id).await.map_err(text)
    }

    async fn protect(&self, on: bool) -> Result<(), FleetError> {
        self.keeper.protect(&self.slot.id, on).await.map_err(text)
    }
}

fn text(error: impl std::error::Error) -> FleetError {
    FleetError(error.to_string())
}

async fn follow(keeper: Keeper, balancer: Client, shown: watch::Sender<Arc<Seen>>) {
    let (kept_in, mut kept) = tokio::sync::mpsc::channel(1);
    let (slots_in, mut slots) = tokio::sync::mpsc::channel(1);
    let mut halves = Halves::default();
    let merge = async {
        loop {
            tokio::select! {
                Some(fleet) = kept.recv() => (halves.kept, halves.heard) = (fleet, true),
                Some(slots) = slots.recv() => halves.balanced = balanced(&slots),
            }
            halves.show(&shown);
        }
    };
    tokio::join!(ask_keeper(&keeper, kept_in), ask_balancer(&balancer, slots_in), merge);
}

async fn ask_keeper(keeper: &Keeper, told: tokio::sync::mpsc::Sender<wire::Fleet>) {
    let mut since = 0;
    loop {
        match keeper.members(since).await {
            Ok(fleet) => {
                since = fleet.members.seq;
                let _ = told.send(fleet).await;
            }
            Err(error) => {
                tracing::debug!("{error}");
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

async fn ask_balancer(balancer: &Client, told: tokio::sync::mpsc::Sender<Slots>) {
    let mut since = 0;
    loop {
        match balancer.slots(since, BALANCER_POLL).await {
            Ok(slots) => {
                since = slots.seq;
                let _ = told.send(slots).await;
            }
            Err(error) => {
                tracing::debug!("{error}");
                since = 0;
                tokio::time::sleep(PAUSE).await;
            }
        }
    }
}

fn balanced(slots: &Slots) -> BTreeSet<InstanceId> {
    slots.slots.iter().filter(|slot| slot.balanced).map(|slot| slot.id.clone()).collect()
}

impl Halves {
    /// Shows the whole, if it is another than before; nothing before the keeper was heard.
    fn show(&self, shown: &watch::Sender<Arc<Seen>>) {
        if !self.heard {
            return;
        }
        let mut members = self.kept.members.clone();
        for (id, member) in &mut members.members {
            member.balanced = self.balanced.contains(id);
        }
        shown.send_if_modified(|seen| {
            members.seq = seen.members.seq;
            let fresh = Seen { members };
            if fresh == **seen {
                return false;
            }
            *seen = Arc::new(fresh);
            Arc::make_mut(seen).members.seq += 1;
            true
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use everup_core::fleet::Member;
    use everup_core::ids::Zone;

    fn kept(names: &[&str]) -> wire::Fleet {
        let member = Member {
            zone: Zone::new("a").unwrap(),
            address: "127.0.0.1:1".into(),
            balanced: false,
            terminating: false,
        };
        let members = names.iter().map(|name| (InstanceId::new(*name).unwrap(), member.clone())).collect();
        wire::Fleet { members: Members { seq: 40, members, ..Members::default() }, ..wire::Fleet::default() }
    }

    #[test]
    fn the_halves_become_one_and_only_a_change_is_told() {
        let (shown, mut seen) = watch::channel(Arc::default());
        let i1 = InstanceId::new("i1").unwrap();
        let mut halves = Halves { balanced: BTreeSet::from([i1.clone()]), ..Halves::default() };
        halves.show(&shown);
        assert!(!seen.has_changed().unwrap(), "the balancer alone says nothing");
        halves.kept = kept(&["i1", "i2"]);
        halves.heard = true;
        halves.show(&shown);
        let first = seen.borrow_and_update().members.clone();
        assert_eq!((first.seq, first.members[&i1].balanced), (1, true));
        halves.kept.members.seq = 41;
        halves.show(&shown);
        assert!(!seen.has_changed().unwrap());
        halves.balanced.clear();
        halves.show(&shown);
        assert_eq!(seen.borrow_and_update().members.seq, 2);
    }
}
