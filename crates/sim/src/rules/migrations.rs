//! Rule 5.

use crate::moment::leader;
use crate::trace::{Event, What};
use crate::world::World;
use crate::world::database::Change;
use crate::world::releases::migration_id;
use everup_core::receipt::SchemaOutcome;
use std::collections::BTreeMap;

/// A migration runs at most once per id, whatever dies when, and so does its undo after each time that it was applied: again
/// only after it ended with the database as it was before (and said so), or after an operator, who looked, said so.
pub(super) fn at_most_once(world: &World, event: &Event) -> Result<(), String> {
    let What::RunBegan(schema, attempt, undo) = &event.what else { return Ok(()) };
    let (id, database) = (migration_id(*schema), &world.database);
    let what = if *undo { format!("the undo of {id}") } else { id.to_string() };
    if database.has(*schema, *undo) {
        return Err(format!(
            "{what} began (attempt {attempt}) although the database has schema {}",
            database.schema
        ));
    }
    if database.schema + u16::from(!undo) != *schema {
        return Err(format!("{what} began on schema {}", database.schema));
    }
    if database.running.values().filter(|running| *running == schema).count() > 1 {
        return Err(format!("{what} runs twice at once"));
    }
    let change = (id.clone(), *undo);
    let count = |of: &BTreeMap<Change, u32>, change: &Change| of.get(change).copied().unwrap_or(0);
    let (begun, failed, again, looked) = (
        count(&database.begun, &change),
        count(&database.failed_clean, &change),
        count(&database.asked_again, &change),
        count(&database.looked, &change),
    );
    // Taken back it may be applied again, and applied it may be taken back.
    let other = count(&database.done, &(id, !undo));
    let due = if *undo { other } else { 1 + other };
    if begun > due + failed + again + looked {
        return Err(format!(
            "{what} began {begun} times, and {due} were due; {failed} times it had failed clean, {again} times an operator asked for it"
        ));
    }
    Ok(())
}

/// What was applied before is not run, and the receipt says that; what was not is.
pub(super) fn the_skipped_is_said(world: &World, event: &Event) -> Result<(), String> {
    let What::Record { id, .. } = &event.what else { return Ok(()) };
    let Some(record) = world.record(id) else { return Ok(()) };
    let Some(receipt) = &record.receipt else { return Ok(()) };
    let release = world.releases.of(&record.to);
    let brings = release.migration.is_some() && record.take_back.is_none();
    let said = receipt.migration.as_ref().map(|change| (change.id.clone(), change.outcome));
    let due = match (brings, &record.migration) {
        (false, _) => return Ok(()),
        (true, None) => Some((migration_id(release.schema), SchemaOutcome::Skipped)),
        (true, Some(_)) if record.migrated() => Some((migration_id(release.schema), SchemaOutcome::Applied)),
        (true, Some(_)) => Some((migration_id(release.schema), SchemaOutcome::NotDone)),
    };
    if said == due { Ok(()) } else { Err(format!("the receipt says {said:?}, and it was {due:?}")) }
}

/// The migration runs where nobody coordinates, if there is such a place: whoever dies with the run is not missed twice.
/// Asked where no fault may have kept the others away.
pub(super) fn not_where_somebody_coordinates(world: &World, event: &Event) -> Result<(), String> {
    let (What::RunBegan(..), Some(no)) = (&event.what, event.host) else { return Ok(()) };
    let members = world.fleet.members.values().filter(|member| !member.terminating).count();
    let leads = world.setting.is_calm() && members > 1 && leader(world) == Some(no);
    if leads { Err(format!("it began on i{no}, which coordinates, of {members} instances")) } else { Ok(()) }
}
