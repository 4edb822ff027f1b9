//! `everup versions`: the releases in the store.

use crate::context::{Context, block_on};
use crate::exit::Exit;
use crate::failure::Failure;
use crate::output::paint;
use crate::output::table::{Cell, Table};
use crate::progress::receipt::bytes;
use crate::reach::Reach;
use crate::store::{self, Told};
use everup_release::catalog::{self, Listed};
use everup_web::client::Client;
use everup_web::wire::VersionLine;

/// Arguments of `everup versions`.
#[derive(Debug, clap::Args)]
pub struct Args {}

/// Runs the command. Without a fleet that answers, the store says what there is.
///
/// # Errors
/// When neither an agent nor the store answers.
pub fn run(_args: &Args, context: &Context) -> Result<Exit, Failure> {
    let settings = context.settings()?;
    let asked = Reach::new(&settings, context.out).and_then(|reach| {
        let call = async |agent: &Client| agent.versions().await;
        block_on(reach.look("the releases could not be listed", call))
    });
    let lines = match asked {
        Ok(lines) => lines,
        Err(_) => stored(&settings, context)?,
    };
    context.out.either(&lines, || table(&lines).text(context.out.page));
    if lines.is_empty() {
        context.out.say("nothing is published yet: `everup publish DIR --version 1`");
    }
    Ok(Exit::Done)
}

fn stored(
    settings: &everup_host::settings::Settings,
    context: &Context,
) -> Result<Vec<VersionLine>, Failure> {
    let failed = |error| store::unreachable("the releases could not be listed", error);
    let listed = block_on(async {
        let store = Told::open(settings, context.out).await?;
        catalog::list(&store).await.map_err(failed)
    })?;
    context.out.say("no agent answers: which of these run is not known");
    Ok(listed.into_iter().map(line).collect())
}

fn line(listed: Listed) -> VersionLine {
    let Listed { release, manifest } = listed;
    VersionLine {
        release,
        at: manifest.published,
        bytes: manifest.archive.size,
        migration: manifest.migration.map(|migration| migration.id),
        running: 0,
        newcomers: false,
        proven: false,
        forbidden: false,
    }
}

fn table(lines: &[VersionLine]) -> Table {
    let mut table = Table::new(&["VERSION", "PUBLISHED", "SIZE", "RUNS ON", "STANDING", "MIGRATION"]);
    for line in lines {
        let running = if line.running == 0 { "-".to_owned() } else { line.running.to_string() };
        let (standing, colour): (_, fn(String) -> String) = standing(line);
        table.row(vec![
            Cell::new(line.release.version.as_str()),
            Cell::new(super::time(line.at)),
            Cell::new(bytes(line.bytes)),
            Cell::new(running),
            Cell::painted(standing, colour),
            Cell::new(line.migration.as_ref().map_or("", |id| id.as_str())),
        ]);
    }
    table
}

fn standing(line: &VersionLine) -> (String, fn(String) -> String) {
    if line.forbidden {
        return ("forbidden".to_owned(), paint::bad);
    }
    let words: Vec<&str> = [(line.proven, "proven"), (line.newcomers, "newcomers take it")]
        .into_iter()
        .filter_map(|(is, word)| is.then_some(word))
        .collect();
    (words.join(", "), paint::good)
}
