//! Rule 5.

use crate::trace::{Event, What};
use crate::world::World;
use crate::world::releases::migration_id;

/// A migration runs at most once per id, whatever dies when: again only after it ended with the database as it was
/// before (and said so), or after an operator, who looked, said so.
pub(super) fn at_most_once(world: &World, event: &Event) -> Result<(), String> {
    let What::RunBegan(schema, attempt) = &event.what else { return Ok(()) };
    let id = migration_id(*schema);
    let database = &world.database;
    let count = |of: &std::collections::BTreeMap<_, u32>| of.get(&id).copied().unwrap_or(0);
    let (begun, undone, again) =
        (count(&database.begun), count(&database.undone), count(&database.asked_again));
    if database.schema >= *schema {
        return Err(format!(
            "{id} began (attempt {attempt}) although the database has schema {}",
            database.schema
        ));
    }
    if database.running.values().filter(|running| *running == schema).count() > 1 {
        return Err(format!("{id} runs twice at once"));
    }
    if begun > 1 + undone + again + database.looked.get(&id).copied().unwrap_or(0) {
        return Err(format!(
            "{id} began {begun} times; {undone} times it had failed clean, {again} times an operator asked for it"
        ));
    }
    Ok(())
}
