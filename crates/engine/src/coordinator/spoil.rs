//! The planted bug of a rollback that takes back what was not touched. Without it a plan passes unchanged.

use crate::bugs::{Bug, planted};
use everup_core::deployment::State;
use everup_core::order::{Limits, Task};
use everup_core::plan::Plan;
use everup_core::policy::Strategy;
use everup_core::record::{Grant, Progress, Record};
use everup_core::time::Millis;

pub(super) fn spoil(mut plan: Plan) -> Plan {
    let rolling_back =
        plan.next.state == State::RollingBack && plan.next.policy.strategy == Strategy::Rolling;
    if planted(Bug::RollBackUntouched) && rolling_back && plan.changed {
        take_back_everybody(&mut plan.next);
    }
    plan
}

fn take_back_everybody(next: &mut Record) {
    let (fence, at) = (next.fence(), next.elapsed);
    let (Some(release), policy) = (next.from.clone(), next.policy.clone()) else { return };
    let limits = Limits {
        overlap: false,
        drain: policy.drain,
        quiet: policy.quiet,
        start: policy.start,
        stop: policy.stop,
        linger: policy.linger,
        leave: true,
        spare: false,
        min: 0,
        hold: policy.hold,
        prove: Millis::ZERO,
    };
    for entry in next.instances.values_mut().filter(|entry| !entry.touched) {
        entry.progress = Progress::GoingBack;
        entry.granted = Some(Grant { fence, at, task: Task::Update { release: release.clone(), limits } });
    }
}
