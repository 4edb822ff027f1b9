//! The store that the settings name: a folder on this machine, or a bucket.

mod told;

pub use told::Told;

use crate::changes::running;
use crate::exit::Exit;
use crate::failure::{Failure, chain};
use crate::view::make_state;
use everup_host::settings::{Settings, Store};
use everup_host::store::{Folder, OpenError};
use std::path::Path;

/// A store that can be published to.
#[cfg(feature = "s3")]
pub type Opened = everup_release::shelf::Either<Folder, everup_cloud::s3::S3>;
/// A store that can be published to.
#[cfg(not(feature = "s3"))]
pub type Opened = Folder;

/// Opens it; a folder is made, unless the fleet that was started here has it: then there was one.
///
/// # Errors
/// When the folder cannot be used, or is not there any more, or the bucket's settings are incomplete.
pub fn open(settings: &Settings) -> Result<Opened, Failure> {
    match &settings.store {
        Store::Folder(path) => {
            // Its own error is told by whatever needs it.
            if path.starts_with(&settings.state) {
                let _ = make_state(&settings.state);
            }
            let was_there = running(settings).is_some_and(|then| then.store == settings.store);
            folder(path, was_there)
        }
        Store::S3 { url, endpoint, region } => bucket(url, endpoint.as_ref(), region.as_ref()),
    }
}

/// A store that did not do its part, as a command's failure.
#[must_use]
pub fn unreachable(wanted: impl Into<String>, happened: impl std::fmt::Display) -> Failure {
    Failure::new(Exit::Unreachable, wanted, happened)
        .hint("look whether the store can be reached, and at [store] in everup.toml; `everup doctor` asks it")
}

fn folder(path: &Path, was_there: bool) -> Result<Opened, Failure> {
    let wanted = format!("the store {} could not be opened", path.display());
    if let Some(file) = path.ancestors().find(|part| part.exists()).filter(|part| !part.is_dir()) {
        let happened = format!("{} is a file, not a folder", file.display());
        return Err(Failure::new(Exit::Unreachable, wanted, happened)
            .hint("move that file away, or name another folder in [store] in everup.toml"));
    }
    let opened = if was_there { Folder::existing(path) } else { Folder::open(path) };
    let opened = opened.map_err(|error| {
        let hint = match error {
            OpenError::Gone { .. } => {
                "if its disk is not mounted, mount it; if it was removed for good, end the fleet with `everup down`, and remove the state folder, too"
            }
            _ => "look at the folder's owner and permissions, and at [store] in everup.toml",
        };
        Failure::new(Exit::Unreachable, wanted, chain(&error)).hint(hint)
    })?;
    #[cfg(feature = "s3")]
    return Ok(Opened::Left(opened));
    #[cfg(not(feature = "s3"))]
    Ok(opened)
}

#[cfg(feature = "s3")]
fn bucket(url: &str, endpoint: Option<&String>, region: Option<&String>) -> Result<Opened, Failure> {
    use everup_cloud::s3::{Location, S3};
    let wanted = format!("the store {url} could not be opened");
    let location = Location::new(url, endpoint.cloned(), region.cloned());
    let location = location.map_err(|error| Failure::input(&wanted, chain(&error)))?;
    let opened = S3::new(&location).map_err(|error| Failure::input(&wanted, chain(&error)));
    opened.map(Opened::Right)
}

#[cfg(not(feature = "s3"))]
fn bucket(url: &str, _endpoint: Option<&String>, _region: Option<&String>) -> Result<Opened, Failure> {
    let happened = "this build of everup knows only folders";
    let failure = Failure::input(format!("the store {url} could not be opened"), happened);
    Err(failure.hint("build it with the feature `s3`, which is on unless it was turned off"))
}
