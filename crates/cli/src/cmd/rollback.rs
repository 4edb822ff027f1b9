//! `everup rollback`: back to the release before, as a deployment like any other.

use super::deploy::{self, Follow};
use crate::context::{Context, block_on};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::reach::{self, Reach};
use crate::records::Records;
use crate::store;
use everup_core::deployment::State;
use everup_core::head::{Current, Head};
use everup_core::record::Record;
use everup_core::release::ReleaseRef;
use everup_engine::mailbox::Refused;
use everup_web::client::Client;
use everup_web::wire::Deploy;

/// Arguments of `everup rollback`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// How to follow it
    #[command(flatten)]
    pub follow: Follow,
}

const WANTED: &str = "the fleet could not be rolled back";

/// Runs the command.
///
/// # Errors
/// When there is no release to go back to, it is forbidden, another deployment runs, or no agent answers.
pub fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let settings = context.settings()?;
    let reach = Reach::new(&settings, context.out)?;
    block_on(async {
        // A store that does not answer leaves the refusal to the coordinator.
        if let Ok(store) = store::open(&settings)
            && let Ok(Some((current, phase))) =
                Records::new(store, settings.environment.clone()).current().await
        {
            return Err(busy(current, phase));
        }
        let status = reach.look(WANTED, async |agent: &Client| agent.status(None).await).await?;
        let records = reach.look(WANTED, async |agent: &Client| agent.deployments().await).await?;
        let head = status.head.ok_or_else(|| Failure::input(WANTED, "nothing was ever deployed here"))?;
        let to = target(&head, &records)?;
        let (version, policy) = (to.version, Some(settings.deploy.clone()));
        let request = Deploy { version, policy, by: reach::by(), idempotency: deploy::key() };
        deploy::begin(&reach, &request, args.follow, context).await
    })
}

fn busy(current: Current, phase: State) -> Failure {
    let hint = match &current.request.from {
        Some(from) if phase.may_abort() => format!("`everup abort` takes what runs back to {from}"),
        None if phase.may_abort() => "`everup abort` ends what runs".to_owned(),
        _ => "follow it with `everup status --watch`".to_owned(),
    };
    let happened = Refused::Busy { current: Box::new(current), phase };
    Failure::new(Exit::Busy, WANTED, happened).hint(hint)
}

/// The last release that a fleet proved, other than the present one.
fn target(head: &Head, newest_first: &[Record]) -> Result<ReleaseRef, Failure> {
    let present = head.newcomers.as_ref().or(head.proven.as_ref());
    let proven = newest_first.iter().filter(|record| record.state == State::Succeeded);
    let before = proven.flat_map(|record| [Some(&record.to), record.from.as_ref()]).flatten();
    let mut others = before.filter(|release| Some(*release) != present);
    let Some(first) = others.next() else {
        return Err(Failure::input(WANTED, "no other release was ever proven here"));
    };
    if head.allows(first) {
        return Ok(first.clone());
    }
    let happened =
        format!("release {first} is forbidden: a migration that was applied since has changed the database");
    Err(Failure::input(WANTED, happened)
        .hint("publish and deploy a newer release that works, or one whose migration takes the change back"))
}
