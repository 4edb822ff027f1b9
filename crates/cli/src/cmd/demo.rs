//! `everup demo`: the product at work on this machine.

use crate::context::{Context, block_on};
use crate::demo::report::Report;
use crate::demo::stage::Stage;
use crate::demo::story::Teller;
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::paint;
use crate::wire_up::house::program;
use crate::wire_up::ready;

/// Arguments of `everup demo`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// End when the story is told, also on a terminal
    #[arg(long)]
    pub once: bool,
}

/// Runs the command: sets the stage, tells the story, says what it showed, clears up.
///
/// # Errors
/// When the stage cannot be set, or the story breaks off.
pub fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    context.out.say("a fleet of 4 instances is being started in a folder of its own; Ctrl-C ends it");
    let stage = Stage::set()?;
    stage.up()?;
    let played = block_on(play(&stage, args, context));
    let down = stage.down();
    let exit = played?;
    down.map(|()| exit)
}

async fn play(stage: &Stage, args: &Args, context: &Context) -> Result<Exit, Failure> {
    let mut teller = Teller::new(stage, context.out)?;
    let told = teller.tell().await;
    let exit = teller.report.exit();
    if told.is_ok() {
        ending(&teller.report, context);
    }
    told?;
    if context.out.terminal && !args.once {
        stay(stage, context).await;
    }
    Ok(exit)
}

fn ending(report: &Report, context: &Context) {
    if context.out.json {
        context.out.document(report);
    }
    for promise in &report.broken {
        context.out.say(format!("{} {promise}", paint::bad("broken promise:")));
    }
    if report.broken.is_empty() {
        context.out.say(format!("\n{}", paint::good("every promise was kept")));
    }
}

/// Until Ctrl-C.
async fn stay(stage: &Stage, context: &Context) {
    let ready = ready::wait(&stage.settings).await;
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
    // Without a handler for Ctrl-C there is nothing to wait for.
    let _ = tokio::signal::ctrl_c().await;
}
