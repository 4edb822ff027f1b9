//! Two planted bugs: a rollback that takes back what was not touched, and a head that is not told what it forbids. Without
//! them a plan, and head, pass unchanged.

use crate::bugs::{Bug, planted};
use everup_core::deployment::State;
use everup_core::head::Head;
use everup_core::order::{Limits, Task};
use everup_core::plan::Plan;
use everup_core::policy::Strategy;
use everup_core::record::{Grant, Progress, Record};

pub(super) fn spoil(mut plan: Plan) -> Plan {
    let rolling_back =
        plan.next.state == State::RollingBack && plan.next.policy.strategy == Strategy::Rolling;
    if planted(Bug::RollBackUntouched) && rolling_back && plan.changed {
        take_back_everybody(&mut plan.next);
    }
    plan
}

/// The record knows which migration was granted, and head what it applied: only what it forbids is in neither.
pub(super) fn head(before: &Head, mut after: Head) -> Head {
    if planted(Bug::ForbiddenInRecord) {
        after.forbidden.clone_from(&before.forbidden);
    }
    after
}

fn take_back_everybody(next: &mut Record) {
    let (fence, at) = (next.fence(), next.elapsed);
    let Some(release) = next.from.clone() else { return };
    let limits = Limits::of(&next.policy);
    for entry in next.instances.values_mut().filter(|entry| !entry.touched) {
        entry.progress = Progress::GoingBack;
        entry.granted = Some(Grant { fence, at, task: Task::Update { release: release.clone(), limits } });
    }
}
