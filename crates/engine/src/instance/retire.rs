//! The end of an instance, on its engine's word: out of the balancer, drained, stopped.

use super::body::Body;
use everup_core::gate::Drain;
use everup_core::instance::Phase;
use everup_core::seams::{Fleet, Gate, Runtime, Seams};
use everup_core::time::Millis;

/// Between two tries of a call that was not answered.
const ASK_AGAIN: Millis = Millis(200);

/// Leaves, drains and stops. What does not answer is gone round: the engine ends the instance anyway.
pub(super) async fn retire<S: Seams>(body: &Body<'_, S>, within: Millis) {
    body.phase(Phase::Leaving, Some("its end: the fleet's engine asked for it".to_owned()));
    let deadline = body.now() + within;
    // Each is asked again until it answers or the time is over: an app is not stopped with requests inside it because
    // a call was lost.
    while body.seams.fleet().leave().await.is_err() && body.now() < deadline {
        body.pause(ASK_AGAIN).await;
    }
    let drain = Drain { within, quiet: body.who.policy.quiet, limits: body.who.policy.hold };
    while body.seams.gate().drain(&drain).await.is_err() && body.now() < deadline + within {
        body.pause(ASK_AGAIN).await;
    }
    body.phase(Phase::Stopped, None);
    for app in body.seams.runtime().adopt().await.apps {
        body.seams.runtime().stop(&app, body.who.care.stop).await;
    }
}
