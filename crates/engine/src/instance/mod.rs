//! One instance's own procedure, from its boot into service and through every order.
//!
//! It has a goal, in its memory, and pursues it from wherever it is: an order, a restart of the agent and a crash at
//! any await all come down to "begin again from what is found running". Calls are answered between the steps; one
//! that changes the goal drops the pursuit of the old one.
//!
//! Laws: what it stores it stores before it acts; nothing of a lower fence changes anything; from a seal on it starts
//! and opens by order only.

mod app;
mod beside;
mod body;
mod calls;
mod held;
mod newcomer;
mod retire;
mod sealed;
mod serve;
mod tend;

use crate::identity::Identity;
use crate::mailbox::{Call, Commands};
use body::Body;
use calls::After;
use everup_core::instance::Problem;
use everup_core::seams::{Journal, Seams};
use futures_channel::mpsc;
use futures_util::future::{Fuse, FusedFuture, LocalBoxFuture};
use futures_util::{FutureExt, StreamExt, select_biased};

/// Lives as this instance, until it is retired or the inbox closes.
///
/// `coordinator` is told when somebody else begins to coordinate, so that this agent watches the lease.
///
/// # Errors
/// When its memory cannot be read or written at the start: without it, it may not obey anybody.
pub async fn run<S: Seams>(
    seams: &S,
    who: &Identity,
    mut inbox: mpsc::Receiver<Call>,
    coordinator: &Commands,
) -> Result<(), Problem> {
    let memory = seams.journal().load().await?;
    let (body, mut edits) = Body::new(seams, who, memory, coordinator.clone());
    body.look_around().await;
    let mut staging: Fuse<LocalBoxFuture<'_, ()>> = Fuse::terminated();
    let mut paying: Fuse<LocalBoxFuture<'_, ()>> = Fuse::terminated();
    let mut learning = newcomer::learn_the_term(&body).boxed_local().fuse();
    loop {
        body.forget_edits(&mut edits);
        if sealed::owes(&body) {
            paying = sealed::unprotect(&body).boxed_local().fuse();
        }
        let mut pursuit = pursue(&body).boxed_local().fuse();
        let after = loop {
            select_biased! {
                call = inbox.next() => match call {
                    None => return Ok(()),
                    Some(call) => match calls::take(&body, call).await {
                        After::GoOn => {}
                        After::Stage(order) => staging = app::stage(&body, *order).boxed_local().fuse(),
                        after @ (After::BeginAgain | After::Retire { .. }) => break after,
                    },
                },
                edit = edits.next() => if let Some(edit) = edit
                    && let Some(end) = body.carry_out(edit, &mut inbox).await
                {
                    break calls::take(&body, end).await;
                },
                () = staging => {}
                () = paying => {}
                () = learning => {}
                () = pursuit => break After::BeginAgain,
            }
        };
        drop(pursuit);
        if let After::Retire { within, reply } = after {
            body.resign();
            retire::retire(&body, within).await;
            // The engine may have gone; then nobody waits for the answer.
            let _ = reply.send(());
            return Ok(());
        }
        if staging.is_terminated() {
            staging = Fuse::terminated();
        }
    }
}

/// Does what the goal says, for as long as it stands. Returns when the goal was changed from within.
async fn pursue<S: Seams>(body: &Body<'_, S>) {
    use everup_core::instance::Goal;
    match body.goal() {
        None => newcomer::find_a_goal(body).await,
        Some(Goal::Serve { release }) => serve::serve(body, &release, None).await,
        Some(Goal::Update { release, task }) => serve::serve(body, &release, Some(&task)).await,
        Some(Goal::Hold { task }) => held::hold(body, &task).await,
        Some(Goal::Sealed { deployment }) => sealed::stay(body, &deployment).await,
    }
}
