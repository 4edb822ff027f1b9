//! `everup publish`: stores a release.

use crate::config::release::{self, RELEASE_FILE, Said};
use crate::context::{Context, block_on};
use crate::endings::Endings;
use crate::exit::Exit;
use crate::failure::{Failure, chain};
use crate::output::{Out, paint};
use crate::progress::receipt::bytes;
use crate::store::{self, Told};
use crate::view::View;
use crate::wait;
use everup_core::ids::{MigrationId, Version};
use everup_core::release::{Command, Migration, OnFailure, ReleaseRef};
use everup_core::words;
use everup_host::settings::Settings;
use everup_release::catalog::CatalogError;
use everup_release::pack::{self, Draft, Packed};
use everup_release::publish::{self, PublishError, Published};
use everup_web::wire::{NO_START, WAYS_TO_START};
use serde::Serialize;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::task::spawn_blocking;

/// Arguments of `everup publish`.
#[derive(Debug, Clone, clap::Args)]
pub struct Args {
    /// The release: a folder, a zip, or a tar.gz
    pub path: PathBuf,
    /// The version that people will use; a version is its bytes, so it is published once
    #[arg(long, value_name = "VERSION")]
    pub version: Version,
    /// How the app is started, instead of everup.toml's `[app] command`
    #[arg(long, value_name = "COMMAND")]
    pub start: Option<String>,
    /// A command that changes the database before this release can start
    #[arg(long, value_name = "COMMAND", requires = "migration_id")]
    pub migration: Option<String>,
    /// The migration's name; it is applied once under it, whatever is deployed how often
    #[arg(long, value_name = "ID", requires = "migration")]
    pub migration_id: Option<MigrationId>,
    /// A command that takes the migration back: `everup rollback --undo` runs it
    #[arg(long, value_name = "COMMAND", requires = "migration")]
    pub undo: Option<String>,
    /// What an exit status other than 0 of the migration means: go-back or stop
    #[arg(long, value_name = "WHAT", requires = "migration", value_parser = on_failure)]
    pub on_failure: Option<OnFailure>,
}

/// What was stored.
#[derive(Debug, Serialize)]
pub struct Stored {
    /// The release.
    pub release: ReleaseRef,
    /// Whether it was there before, with the same content.
    pub already: bool,
    /// How many files it has.
    pub files: usize,
    /// The bytes of its archive.
    pub bytes: u64,
    /// The migration that it brings.
    pub migration: Option<MigrationId>,
    /// Files that look as if they were meant for nobody else.
    pub secrets: Vec<String>,
}

/// Runs the command.
///
/// # Errors
/// When the release is refused, its version exists with other bytes, or the store fails.
pub fn run(args: &Args, context: &Context) -> Result<Exit, Failure> {
    let settings = context.settings()?;
    let path = context.here.join(&args.path);
    let stored = block_on(async {
        let mut endings = Endings::listen()?;
        ends(&mut endings, store(args, &path, &settings, context.out), args).await
    })?;
    let told = || {
        let size = format!("{}, {}", words::count(stored.files, "file"), bytes(stored.bytes));
        match stored.already {
            true => format!("release {} was published before with the same content ({size})", stored.release),
            false => format!("published release {} ({size})", stored.release),
        }
    };
    context.out.either(&stored, told);
    if !stored.secrets.is_empty() {
        let which = words::list(&stored.secrets, 5);
        context.out.say(format!(
            "{} {which} in the release: whoever may read the store, or the app's folder, reads it too. Settings of an app have their place in `[app] env` of everup.toml",
            paint::busy("note:")
        ));
    }
    if !context.out.json {
        context.out.say(format!("`everup deploy {}` moves the fleet to it", stored.release));
    }
    Ok(Exit::Done)
}

/// `work`, unless a signal comes before it is done: then it leaves nothing behind on this machine.
async fn ends(
    endings: &mut Endings,
    work: impl Future<Output = Result<Stored, Failure>>,
    args: &Args,
) -> Result<Stored, Failure> {
    tokio::select! {
        stored = work => stored,
        why = endings.next() => Err(Failure::new(Exit::Internal, wanted(args), why)
            .hint("it may be stored, or not yet; to publish it again is safe")),
    }
}

fn wanted(args: &Args) -> String {
    format!("{} could not be published as release {}", args.path.display(), args.version)
}

/// Packs and stores the release at `path`.
///
/// # Errors
/// When it is refused, its version exists with other bytes, or the store fails.
pub async fn store(args: &Args, path: &Path, settings: &Settings, out: Out) -> Result<Stored, Failure> {
    let wanted = wanted(args);
    let failed = |error| Failure::input(&wanted, chain(&error));
    let scratch = Scratch(Arc::new(View::of(path, &settings.state).map_err(failed)?));
    let (view, how, has_start) = (Arc::clone(&scratch.0), args.clone(), settings.app.command.is_some());
    let packing = spawn_blocking(move || packed(&view, &how, has_start));
    let what =
        format!("waiting for {} to be packed: for as long as reading its files takes", args.path.display());
    let packed = wait::told(packing, || out.say(what)).await;
    let packed = packed.map_err(|broken| Failure::new(Exit::Internal, &wanted, broken))??;
    let store = Told::open(settings, out).await?;
    let published = publish::publish(&store, &packed).await.map_err(|error| refused(&wanted, &error))?;
    Ok(stored(&published, &packed))
}

/// What is worked in, removed when whoever wanted it has gone, whoever still works in it.
struct Scratch(Arc<View>);

impl Drop for Scratch {
    fn drop(&mut self) {
        self.0.remove();
    }
}

fn packed(view: &View, args: &Args, has_start: bool) -> Result<Packed, Failure> {
    let wanted = wanted(args);
    let failed = |error: &dyn std::error::Error| Failure::input(&wanted, chain(error));
    let shown = view.shown().map_err(|error| failed(&error))?;
    let work = view.work().map_err(|error| failed(&error))?;
    let text = pack::text_of(&shown, RELEASE_FILE, &work).map_err(|error| failed(&error))?;
    let draft = draft(args, text.as_deref().map_or_else(|| Ok(Said::default()), said)?);
    if draft.start.is_none() && !has_start {
        return Err(Failure::input(&wanted, NO_START).hint(WAYS_TO_START));
    }
    pack::pack(&shown, draft, &work).map_err(|error| failed(&error))
}

fn stored(published: &Published, packed: &Packed) -> Stored {
    Stored {
        release: published.release().clone(),
        already: matches!(published, Published::Already(_)),
        files: packed.manifest.files.len(),
        bytes: packed.manifest.archive.size,
        migration: packed.manifest.migration.as_ref().map(|migration| migration.id.clone()),
        secrets: packed
            .manifest
            .files
            .iter()
            .map(|file| file.path.clone())
            .filter(|path| is_secret(path))
            .collect(),
    }
}

/// By its name: nobody looks into it.
fn is_secret(path: &str) -> bool {
    let name = path.rsplit('/').next().unwrap_or(path);
    let is_env = name == ".env" || (name.starts_with(".env.") && !name.ends_with(".example"));
    is_env || [".netrc", ".npmrc", ".pgpass", "id_rsa", "id_ed25519", "credentials.json"].contains(&name)
}

fn refused(wanted: &str, error: &PublishError) -> Failure {
    match error {
        PublishError::OtherBytes { .. } => Failure::input(wanted, chain(error)),
        PublishError::Store(_) | PublishError::Catalog(CatalogError::Store(_)) => {
            store::unreachable(wanted, chain(error))
        }
        // What is stored is no release that could be compared with this one; another version can be published.
        PublishError::Catalog(CatalogError::Manifest { .. }) => Failure::input(wanted, chain(error))
            .hint("`everup versions` lists what is published; publish this one under another version"),
        _ => Failure::new(Exit::Internal, wanted, chain(error)),
    }
}

/// What the release says of itself.
fn said(text: &str) -> Result<Said, Failure> {
    release::read(Path::new(RELEASE_FILE), text).map_err(|broken| {
        let details = broken.text(crate::output::coloured());
        Failure::input("the release could not be published", &broken).details(details)
    })
}

/// The command line wins over the file.
fn draft(args: &Args, said: Said) -> Draft {
    let mut draft = Draft::new(args.version.clone(), publish::now());
    draft.start = args.start.clone().map(Command).or(said.start);
    draft.migration = match (&args.migration, &args.migration_id) {
        (Some(command), Some(id)) => Some(Migration {
            id: id.clone(),
            command: Command(command.clone()),
            undo: args.undo.clone().map(Command),
            on_failure: args.on_failure.unwrap_or_default(),
        }),
        _ => said.migration,
    };
    draft
}

fn on_failure(text: &str) -> Result<OnFailure, String> {
    match text {
        "go-back" => Ok(OnFailure::GoBack),
        "stop" => Ok(OnFailure::Stop),
        _ => Err("expected go-back or stop".to_owned()),
    }
}

impl Args {
    /// The release at `path`, with what it says of itself.
    #[must_use]
    pub fn plain(path: &Path, version: Version) -> Self {
        Self {
            path: path.to_owned(),
            version,
            start: None,
            migration: None,
            migration_id: None,
            undo: None,
            on_failure: None,
        }
    }
}
