//! What the gates are told to do.

use super::{Draining, Gates, Named, NoSlot};
use crate::control::Behind;
use everup_core::gate::machine::{HoldRefused, Kept, NoUpstream, SlotKey};
use everup_core::gate::{Drain, Drained, Hold, NotHolding, Upstream};
use everup_core::ids::{HoldId, InstanceId, Zone};
use std::rc::Rc;

impl Gates {
    /// Adds a slot unless it is there; whether it was added.
    pub(crate) fn add(self: &Rc<Self>, id: &InstanceId, zone: Zone, behind: Behind, kept: &Kept) -> bool {
        if self.named.borrow().contains_key(id) {
            return false;
        }
        let key = self.machine.borrow_mut().add(self.now(), kept);
        if behind == Behind::Proxy {
            self.proxies.borrow_mut().insert(key);
        }
        let drain = Draining::Done(Drained::default());
        self.named.borrow_mut().insert(id.clone(), Named { key, zone, behind, drain });
        self.settle_orders();
        true
    }

    /// Removes a slot; the key that it had.
    pub(crate) fn remove(self: &Rc<Self>, id: &InstanceId) -> Option<SlotKey> {
        let named = self.named.borrow_mut().remove(id)?;
        self.proxies.borrow_mut().remove(&named.key);
        self.machine.borrow_mut().remove(self.now(), named.key);
        self.settle_orders();
        Some(named.key)
    }

    /// Removes every slot: whoever waits, or comes yet, is told that there is none, and was sent to nobody.
    pub(crate) fn close(self: &Rc<Self>) {
        for id in self.each(|id, _, _| id.clone()) {
            self.remove(&id);
        }
    }

    pub(crate) fn balance(self: &Rc<Self>, id: &InstanceId, on: bool) -> Result<(), NoSlot> {
        let key = self.key(id)?;
        self.machine.borrow_mut().balance(self.now(), key, on);
        self.settle_orders();
        Ok(())
    }

    pub(crate) fn hold(
        self: &Rc<Self>,
        id: &InstanceId,
        hold: &Hold,
    ) -> Result<Result<(), HoldRefused>, NoSlot> {
        let key = self.key(id)?;
        let renewed = self.machine.borrow().hold_id(key) == Some(&hold.id);
        let held = self.machine.borrow_mut().hold(self.now(), key, hold);
        self.settle_orders();
        if held.is_ok() && !renewed {
            self.end_streams(key, hold.id.clone());
        }
        Ok(held)
    }

    pub(crate) fn seal(
        self: &Rc<Self>,
        id: &InstanceId,
        hold: Option<&HoldId>,
    ) -> Result<Result<(), NotHolding>, NoSlot> {
        let key = self.key(id)?;
        let sealed = self.machine.borrow_mut().seal(self.now(), key, hold);
        self.settle_orders();
        Ok(sealed)
    }

    pub(crate) fn drain(self: &Rc<Self>, id: &InstanceId, drain: &Drain) -> Result<SlotKey, NoSlot> {
        let key = {
            let mut named = self.named.borrow_mut();
            let named = named.get_mut(id).ok_or_else(|| NoSlot(id.clone()))?;
            if !matches!(named.drain, Draining::Running(_)) {
                named.drain = Draining::Running(Drained::default());
            }
            named.key
        };
        self.machine.borrow_mut().drain(self.now(), key, drain);
        self.settle_orders();
        Ok(key)
    }

    /// Switches; the key, when that changed where the gate sends.
    pub(crate) fn switch(self: &Rc<Self>, id: &InstanceId, to: &Upstream) -> Result<SlotKey, NoSlot> {
        let key = self.key(id)?;
        self.machine.borrow_mut().switch(key, to);
        self.settle_orders();
        Ok(key)
    }

    pub(crate) fn release(self: &Rc<Self>, id: &InstanceId) -> Result<Result<(), NoUpstream>, NoSlot> {
        let key = self.key(id)?;
        let released = self.machine.borrow_mut().release(self.now(), key);
        self.settle_orders();
        Ok(released)
    }

    /// What checks of `upstream` found; whether that changes anything, which it does not where the slot sends
    /// elsewhere by now.
    pub(crate) fn checked(&self, slot: SlotKey, upstream: &Upstream, healthy: bool) -> bool {
        let mut machine = self.machine.borrow_mut();
        if machine.upstream(slot) != Some(upstream) || machine.healthy(slot) == healthy {
            return false;
        }
        machine.checked(slot, healthy);
        drop(machine);
        self.change();
        true
    }

    fn settle_orders(self: &Rc<Self>) {
        self.settle();
        self.change();
        self.due.notify_one();
    }
}
