//! `everup init`: looks at the folder and writes an everup.toml for it, where --config or EVERUP_CONFIG says, or there.

mod guess;

use crate::config::FILE;
use crate::context::Context;
use crate::exit::Exit;
use crate::failure::Failure;
use guess::Guess;
use serde::Serialize;
use std::fs::OpenOptions;
use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

/// Arguments of `everup init`.
#[derive(Debug, clap::Args)]
pub struct Args {
    /// The folder [default: this one]
    pub folder: Option<PathBuf>,
}

#[derive(Serialize)]
struct Written<'g> {
    file: &'g Path,
    recognised: Option<&'static str>,
    command: &'g str,
}

/// Runs the command.
///
/// # Errors
/// When the file is there already, or it cannot be written.
pub fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let folder =
        args.folder.as_ref().map_or_else(|| context.here.clone(), |folder| context.here.join(folder));
    let guess = Guess::of(&folder);
    let file = match &context.config {
        Some(named) => context.here.join(named),
        None => folder.join(FILE),
    };
    write(&file, &text(&folder, &guess))?;
    let written = Written { file: &file, recognised: guess.what, command: &guess.command };
    context.out.either(&written, || format!("wrote {}", file.display()));
    if !context.out.json {
        context.out.say(next(&guess, &folder, context));
    }
    Ok(Exit::Done)
}

fn write(file: &Path, text: &str) -> Result<(), Failure> {
    let wanted = format!("{} could not be written", file.display());
    let failed = |error: std::io::Error| match error.kind() {
        ErrorKind::AlreadyExists => {
            Failure::input(&wanted, "it exists already").hint("remove it first, or change it by hand")
        }
        _ => Failure::input(&wanted, error),
    };
    let mut open = OpenOptions::new().write(true).create_new(true).open(file).map_err(failed)?;
    open.write_all(text.as_bytes()).map_err(failed)
}

fn next(guess: &Guess, folder: &Path, context: &Context) -> String {
    let what = match guess.what {
        Some(what) => format!("this looks like {what}: look at [app] and [health]"),
        None => "what this is was not recognised: say in [app] how it is started".to_owned(),
    };
    let enter = if folder == context.here { String::new() } else { format!("cd {} && ", folder.display()) };
    // A file that the environment names is found by every command.
    let named = context.config.as_ref().filter(|_| std::env::var_os("EVERUP_CONFIG").is_none());
    let everup = named.map_or_else(
        || "everup".to_owned(),
        |file| format!("everup --config {}", context.here.join(file).display()),
    );
    let build = guess.build.as_ref().map_or_else(String::new, |build| format!("`{build}`, "));
    format!(
        "{what}\nnext: `{enter}{everup} up`, and in another terminal \
         {build}`{everup} publish {} --version 1` and `{everup} deploy 1`",
        guess.publish
    )
}

/// The whole file.
#[must_use]
pub fn text(folder: &Path, guess: &Guess) -> String {
    let name = name(folder);
    let Guess { command, because, health, .. } = guess;
    let command = toml::Value::String(command.clone());
    format!(
        "# How {name} is run and deployed. `everup doctor` looks for mistakes; docs/guide/everup-toml.md in everup's sources
# has every key.

application = \"{name}\"
environment = \"production\"

[app]
# Run by /bin/sh in the release's folder, once for each instance. It has to listen on $PORT.
# {because}
command = {command}

[health]
# A new instance gets requests once this passes; one that fails it stops a deployment, and is shown as ill.
{health}

[listen]
# Where users reach the service.
address = \"127.0.0.1:8080\"

[fleet]
# So many instances, spread over the zones; `everup scale` moves between min and max.
min = 1
desired = 2
max = 4
"
    )
}

/// The folder's name, of what a name may hold.
fn name(folder: &Path) -> String {
    let folder = folder.canonicalize().unwrap_or_else(|_| folder.to_owned());
    let name = folder.file_name().map_or_else(String::new, |name| name.to_string_lossy().into_owned());
    let fits = |c: char| if c.is_ascii_alphanumeric() || "._-".contains(c) { c } else { '-' };
    let name: String = name.chars().map(fits).collect();
    let name = name.trim_matches(['.', '-']);
    if name.is_empty() { "app".to_owned() } else { name.to_owned() }
}
