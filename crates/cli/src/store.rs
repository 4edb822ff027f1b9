//! The store that the settings name: a folder on this machine, or a bucket.

use crate::exit::Exit;
use crate::failure::{Failure, chain};
use everup_host::settings::{Settings, Store};
use everup_host::store::Folder;

/// A store that can be published to.
pub type Opened = Folder;

/// Opens it.
///
/// # Errors
/// When the folder cannot be used, or the bucket's settings are incomplete.
pub fn open(settings: &Settings) -> Result<Opened, Failure> {
    match &settings.store {
        Store::Folder(folder) => Folder::open(folder).map_err(|error| {
            let wanted = format!("the store {} could not be opened", folder.display());
            Failure::new(Exit::Unreachable, wanted, chain(&error))
                .hint("look at the folder's owner and permissions, and at `[store]` in everup.toml")
        }),
        Store::S3 { url, .. } => Err(Failure::input(
            format!("the store {url} could not be opened"),
            "this build of everup knows only folders",
        )),
    }
}
