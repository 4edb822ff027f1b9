//! Rule 10.

use crate::trace::{Event, What};
use crate::world::World;

/// The number of instances is never part of a release: what the fleet wants is what scaling said last, whatever is
/// deployed or rolled back; and its group ends one only where there are more than that.
pub(super) fn wanted_is_what_scaling_said(world: &World, event: &Event) -> Result<(), String> {
    let (wanted, said) = (world.fleet.desired, world.law.scaled.unwrap_or(world.setting.instances));
    if wanted != said {
        return Err(format!("{wanted} instances are wanted; scaling said {said}"));
    }
    if event.what == What::Terminating {
        let living = world.fleet.members.values().filter(|member| !member.terminating).count();
        if living < said as usize {
            return Err(format!("one is ended, and {living} are left of {said}"));
        }
    }
    Ok(())
}
