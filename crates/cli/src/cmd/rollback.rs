//! `everup rollback`: back to the release before, as a deployment like any other.

use super::deploy::{self, Follow};
use crate::context::{Context, block_on};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::reach::{self, Reach};
use crate::records::Records;
use crate::store::Told;
use everup_core::deployment::State;
use everup_core::head::{Current, Head, TakeBack};
use everup_core::record::Record;
use everup_core::release::ReleaseRef;
use everup_engine::mailbox::Refused;
use everup_web::client::Client;
use everup_web::wire::Deploy;

/// Arguments of `everup rollback`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// Over a migration
    #[command(flatten)]
    pub over: Over,
    /// How to follow it
    #[command(flatten)]
    pub follow: Follow,
}

/// How a deployment gets back over the last migration, which has forbidden what ran before it.
#[derive(Debug, Clone, Copy, Default, clap::Args)]
pub struct Over {
    /// Take the last migration back by its own undo, all at once, and forbid what needs it
    #[arg(long, conflicts_with = "schema_restored")]
    pub undo: bool,
    /// You have restored the database to what it was before the last migration: nothing is run, all at once
    #[arg(long)]
    pub schema_restored: bool,
}

impl Over {
    /// As the API says it.
    #[must_use]
    pub const fn take_back(self) -> Option<TakeBack> {
        match (self.undo, self.schema_restored) {
            (true, _) => Some(TakeBack::Undo),
            (false, true) => Some(TakeBack::Restored),
            (false, false) => None,
        }
    }
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
        if let Ok(store) = Told::open(&settings, context.out).await
            && let Ok(Some((current, phase))) =
                Records::new(store, settings.environment.clone()).current().await
        {
            return Err(busy(current, phase));
        }
        let status = reach.look(WANTED, async |agent: &Client| agent.status(None).await).await?;
        let records = reach.look(WANTED, async |agent: &Client| agent.deployments().await).await?;
        let head = status.head.ok_or_else(|| Failure::input(WANTED, "nothing was ever deployed here"))?;
        let take_back = args.over.take_back();
        let to = target(&head, &records, take_back)?;
        let (version, policy) = (to.version, Some(settings.deploy.clone()));
        let request = Deploy { version, policy, by: reach::by(), take_back, idempotency: deploy::key() };
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

/// The last release that a fleet proved, other than the present one; with `take_back`, of those from before the last migration.
fn target(head: &Head, newest_first: &[Record], take_back: Option<TakeBack>) -> Result<ReleaseRef, Failure> {
    let present = head.newcomers.as_ref().or(head.proven.as_ref());
    let proven = newest_first.iter().filter(|record| record.state == State::Succeeded);
    let before = proven.flat_map(|record| [Some(&record.to), record.from.as_ref()]).flatten();
    let mut others = before.filter(|release| Some(*release) != present);
    let last = head.changes.last();
    if take_back.is_some() {
        let Some(change) = last else {
            return Err(Failure::input(WANTED, "no migration was applied here that could be taken back"));
        };
        let was_before = others.find(|release| change.forbade.contains(&release.version));
        let happened =
            format!("no release that ran before migration {} was ever proven here", change.migration);
        return was_before.cloned().ok_or_else(|| Failure::input(WANTED, happened));
    }
    let Some(first) = others.next() else {
        return Err(Failure::input(WANTED, "no other release was ever proven here"));
    };
    if head.allows(first) {
        return Ok(first.clone());
    }
    let happened =
        format!("release {first} is forbidden: a migration that was applied since has changed the database");
    let hint = match last.filter(|change| change.forbade.contains(&first.version)) {
        Some(change) => format!(
            "publish and deploy a newer release that works; or take migration {} back: `everup rollback --undo` runs its undo, `--schema-restored` says that you have restored the database by hand",
            change.migration
        ),
        None => "publish and deploy a newer release that works".to_owned(),
    };
    Err(Failure::input(WANTED, happened).hint(hint))
}
