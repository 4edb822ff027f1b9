//! `everup demo`: the product at work on this machine.

use crate::context::{Context, block_on};
use crate::demo::report::Report;
use crate::demo::stage::Stage;
use crate::demo::story::{self, Teller};
use crate::endings::Endings;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::{failure_text, paint};
use crate::wire_up::house::program;
use crate::wire_up::ready;
use std::time::Duration;
use tokio::time::timeout;

/// Arguments of `everup demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// End when the story is told, also on a terminal
    #[arg(long)]
    pub once: bool,
}

/// A signal that has come is told of within this.
const AT_ONCE: Duration = Duration::from_millis(100);

/// Runs the command: sets the stage, tells the story, clears up, says what was shown, also of a story that broke off.
///
/// # Errors
/// When the stage cannot be set.
pub fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    context.out.say("a fleet of 4 instances is being started in a folder of its own; Ctrl-C ends it");
    block_on(show(args, context))
}

async fn show(args: &Args, context: &Context) -> Result<Exit, Failure> {
    // From here on a signal ends the fleet as well, and removes the folder.
    let mut endings = Endings::listen()?;
    let stage = Stage::set().await?;
    let played = match stage.up() {
        // On a terminal it ends the command that starts the fleet, too; of it the runtime has not heard yet.
        Err(failure) => match timeout(AT_ONCE, endings.next()).await {
            Ok(why) => Err(story::interrupted(why)),
            Err(_) => Err(failure),
        },
        Ok(()) => play(&stage, endings, args, context).await,
    };
    // Also of one that did not come up: some of it may run.
    let down = stage.down();
    let mut report = played?;
    if let Err(failure) = down {
        context.out.say(failure_text(&failure));
        report.broke_off(failure);
    }
    if context.out.json {
        context.out.document(&report);
    }
    Ok(report.exit())
}

async fn play(
    stage: &Stage,
    mut endings: Endings,
    args: &Args,
    context: &Context,
) -> Result<Report, Failure> {
    let mut teller = Teller::new(stage, context.out)?;
    teller.tell(&mut endings).await;
    let report = teller.report;
    ending(&report, context);
    if context.out.terminal && !args.once && report.error.is_none() {
        stay(stage, &mut endings, context).await;
    }
    Ok(report)
}

fn ending(report: &Report, context: &Context) {
    for promise in &report.broken {
        context.out.say(format!("{} {promise}", paint::bad("broken promise:")));
    }
    match &report.error {
        Some(failure) => context.out.say(failure_text(failure)),
        None if report.broken.is_empty() => {
            context.out.say(format!("\n{}", paint::good("every promise was kept")));
        }
        None => {}
    }
}

/// Until Ctrl-C, or another signal that ends it.
async fn stay(stage: &Stage, endings: &mut Endings, context: &Context) {
    let ready = ready::now(&stage.settings, context.out).await;
    let api = ready.api.map(|api| format!(", the API http://{api}")).unwrap_or_default();
    // Nobody has put it on the path yet.
    let everup = program();
    let everup = everup.display();
    context.out.say(format!(
        "\nthe fleet stays up: the service is http://{}{api}\n\
         by hand, in another terminal:\n  cd {}\n  {everup} status --watch\n  {everup} deploy 6\n  \
         {everup} rollback\nCtrl-C ends it",
        stage.settings.listen.address,
        stage.folder().display()
    ));
    endings.next().await;
}
