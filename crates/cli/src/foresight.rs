//! What the last deployment all at once says of the next one: how long requests would wait.

use everup_core::deployment::State;
use everup_core::policy::{Policy, Strategy};
use everup_core::record::{PhaseEntry, Record};
use everup_core::time::Millis;

/// What to say beforehand, if requests would wait longer than they may. `records` are the last ones, the newest first.
#[must_use]
pub fn too_long(records: &[Record], policy: &Policy) -> Option<String> {
    let is_its_kind =
        |record: &&Record| record.policy.strategy == Strategy::AllAtOnce && record.state == State::Succeeded;
    let last = records.iter().find(is_its_kind).filter(|_| policy.strategy == Strategy::AllAtOnce)?;
    let (held, wait) = (held(&last.phases)?, policy.hold.wait);
    (held > wait).then(|| {
        format!(
            "deployment {} held requests for {held}, and one waits {wait} at most ([hold] wait): whoever would wait longer is answered 503 with a time to come again",
            last.id
        )
    })
}

/// From the hold's beginning to the end.
fn held(phases: &[PhaseEntry]) -> Option<Millis> {
    let begun = phases.iter().find(|phase| phase.state == State::Holding)?;
    Some(phases.last()?.at.since(begun.at))
}

#[cfg(test)]
mod tests {
    use super::*;
    use everup_core::time::Wall;

    #[test]
    fn requests_wait_from_the_hold_to_the_end() {
        let entered = [
            (State::Pending, 0),
            (State::Staging, 5),
            (State::Holding, 1_000),
            (State::Sealing, 2_000),
            (State::Starting, 31_000),
            (State::Succeeded, 41_000),
        ];
        let entered = entered.map(|(state, at)| PhaseEntry { state, at: Wall(at) });
        assert_eq!(held(&entered), Some(Millis::from_secs(40)));
        assert_eq!(held(&entered[..2]), None);
    }
}
