//! The store in an S3 bucket, by conditional writes. Any server that has them and lists consistently will do.
//!
//! What is said of a conditional write is not always so: a 409 means "try again", and the client library shows it as
//! "exists"; a retry of a write that was carried out is answered 412. So a creation that is said to exist is looked
//! at, and all else is left to the caller, who looks for its own write id. Retries and their time are bounded.

mod archives;
mod location;

pub use archives::PART_DEADLINE;
pub use location::{BadLocation, Location};

use everup_core::seams::{Etag, Got, Store, StoreError, Wrote};
use futures_util::TryStreamExt;
use object_store::aws::{AmazonS3, AmazonS3Builder, AmazonS3ConfigKey, S3ConditionalPut};
use object_store::path::Path;
use object_store::{
    BackoffConfig, ClientOptions, Error, GetOptions, ObjectStore, ObjectStoreExt, PutMode, PutOptions,
    PutPayload, RetryConfig, UpdateVersion,
};
use std::sync::Arc;
use std::time::Duration;

/// How long one call is tried for, retries included.
pub const DEADLINE: Duration = Duration::from_secs(10);
/// Of it, credentials may take so long.
const CREDENTIALS: Duration = Duration::from_secs(5);
/// What to do where there are none.
const GIVE_CREDENTIALS: &str =
    "; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give the instance a role";
const RETRIES: usize = 5;
/// How often a creation that was said to exist, and does not, is tried again.
const CONFLICTS: usize = 5;

/// A bucket, or a part of one, as the store. Cloning shares it. Needs a tokio runtime with time and net.
#[derive(Debug, Clone)]
pub struct S3 {
    bucket: Arc<AmazonS3>,
    prefix: String,
    /// Whether requests are signed: without it no credentials are needed.
    signs: bool,
}

/// Why the store cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the settings of the S3 store do not fit: {0}")]
pub struct BadSettings(String);

impl S3 {
    /// A store at `location`. Credentials come from where AWS's own tools find them: the environment, a container's
    /// or an instance's role. Connects to nothing yet.
    ///
    /// # Errors
    /// When the settings contradict each other.
    pub fn new(location: &Location) -> Result<Self, BadSettings> {
        Self::from(AmazonS3Builder::from_env(), location)
    }

    /// The same, with credentials that are handed in.
    ///
    /// # Errors
    /// When the settings contradict each other.
    pub fn with_credentials(location: &Location, id: &str, secret: &str) -> Result<Self, BadSettings> {
        let builder = AmazonS3Builder::new().with_access_key_id(id).with_secret_access_key(secret);
        Self::from(builder, location)
    }

    fn from(builder: AmazonS3Builder, location: &Location) -> Result<Self, BadSettings> {
        let mut builder = builder
            .with_bucket_name(&location.bucket)
            .with_conditional_put(S3ConditionalPut::ETagMatch)
            .with_client_options(
                ClientOptions::new().with_timeout(PART_DEADLINE).with_connect_timeout(DEADLINE / 2),
            )
            .with_retry(RetryConfig {
                backoff: BackoffConfig::default(),
                max_retries: RETRIES,
                retry_timeout: DEADLINE,
            });
        if let Some(region) = &location.region {
            builder = builder.with_region(region);
        }
        if let Some(endpoint) = &location.endpoint {
            // Other servers have no name per bucket; the path has it.
            builder = builder
                .with_endpoint(endpoint)
                .with_allow_http(endpoint.starts_with("http:"))
                .with_virtual_hosted_style_request(false);
        }
        let unsigned = builder.get_config_value(&AmazonS3ConfigKey::SkipSignature);
        // The library's own words for yes.
        let is_yes = |word: &String| ["1", "true", "on", "yes", "y"].contains(&&*word.to_ascii_lowercase());
        let signs = !unsigned.as_ref().is_some_and(is_yes);
        let bucket = builder.build().map_err(|error| BadSettings(error.to_string()))?;
        Ok(Self { bucket: Arc::new(bucket), prefix: location.prefix.clone(), signs })
    }

    /// Has credentials at hand, and says so where there are none: the library would only say that an address of the
    /// machine's provider, of which nobody here has heard, does not answer.
    async fn credentials(&self) -> Result<(), String> {
        if !self.signs {
            return Ok(());
        }
        let found = tokio::time::timeout(CREDENTIALS, self.bucket.credentials().get_credential()).await;
        let why = match found {
            Ok(Ok(_)) => return Ok(()),
            Ok(Err(error)) => whole(&error),
            Err(_) => format!("nobody who has some answered within {} s", CREDENTIALS.as_secs()),
        };
        Err(format!("no credentials were found{GIVE_CREDENTIALS} ({why})"))
    }

    /// Where `key` is in the bucket.
    fn path(&self, key: &str) -> Result<Path, String> {
        let whole = format!("{}{key}", self.prefix);
        Path::parse(&whole).map_err(|error| format!("{key:?} is no key: {error}"))
    }

    /// Does `call` within the deadline; the words say what was wanted.
    async fn bounded<T>(
        &self,
        wanted: String,
        call: impl Future<Output = Result<T, String>>,
    ) -> Result<T, StoreError> {
        let call = async {
            self.credentials().await?;
            call.await
        };
        let answer = tokio::time::timeout(DEADLINE, call).await;
        let happened = match answer {
            Ok(Ok(done)) => return Ok(done),
            Ok(Err(happened)) => happened,
            Err(_) => format!("no answer within {} s", DEADLINE.as_secs()),
        };
        Err(StoreError { wanted, happened })
    }

    async fn put_if(&self, path: &Path, mode: PutMode, body: &[u8]) -> Result<Wrote, Error> {
        let payload = PutPayload::from(body.to_vec());
        let options = PutOptions { mode, ..PutOptions::default() };
        match self.bucket.put_opts(path, payload, options).await {
            Ok(put) => Ok(Wrote::Done(etag(put.e_tag))),
            // The library says the latter of an object that is gone as well: that, too, is not the expected one.
            Err(Error::AlreadyExists { .. } | Error::Precondition { .. }) => Ok(Wrote::Lost),
            Err(error) => Err(error),
        }
    }

    async fn exists(&self, path: &Path) -> Result<bool, Error> {
        match self.bucket.head(path).await {
            Ok(_) => Ok(true),
            Err(Error::NotFound { .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    async fn create_at(&self, path: &Path, body: &[u8]) -> Result<Wrote, String> {
        for _ in 0..CONFLICTS {
            match self.put_if(path, PutMode::Create, body).await.map_err(explain)? {
                // Said of a conflict with another write as well, which may have failed: then nothing is there.
                Wrote::Lost if !self.exists(path).await.map_err(explain)? => {}
                wrote => return Ok(wrote),
            }
        }
        Err(format!("the store said {CONFLICTS} times that it exists, and it did not; try again"))
    }
}

impl Store for S3 {
    async fn get(&self, key: &str, unless: Option<&Etag>) -> Result<Got, StoreError> {
        let call = async {
            let options = GetOptions { if_none_match: unless.map(|e| e.0.clone()), ..GetOptions::default() };
            let found = match self.bucket.get_opts(&self.path(key)?, options).await {
                Ok(found) => found,
                Err(Error::NotFound { .. }) => return Ok(Got::Missing),
                Err(Error::NotModified { .. }) => return Ok(Got::Unchanged),
                Err(error) => return Err(explain(error)),
            };
            let etag = etag(found.meta.e_tag.clone());
            let body = found.bytes().await.map_err(explain)?.to_vec();
            Ok(Got::Found { etag, body })
        };
        self.bounded(format!("read {key}"), call).await
    }

    async fn list(&self, prefix: &str) -> Result<Vec<String>, StoreError> {
        let call = async {
            // The library lists whole folders; the rest of the prefix is ours to compare.
            let folder = prefix.rsplit_once('/').map_or("", |(folder, _)| folder);
            let folder = self.path(folder)?;
            let objects: Vec<_> = self.bucket.list(Some(&folder)).try_collect().await.map_err(explain)?;
            let mut keys: Vec<String> = objects
                .iter()
                .filter_map(|object| object.location.as_ref().strip_prefix(&self.prefix))
                .filter(|key| key.starts_with(prefix))
                .map(str::to_owned)
                .collect();
            keys.sort();
            Ok(keys)
        };
        self.bounded(format!("list {prefix}"), call).await
    }

    async fn create(&self, key: &str, body: Vec<u8>) -> Result<Wrote, StoreError> {
        let call = async { self.create_at(&self.path(key)?, &body).await };
        self.bounded(format!("create {key}"), call).await
    }

    async fn replace(&self, key: &str, etag: &Etag, body: Vec<u8>) -> Result<Wrote, StoreError> {
        let call = async {
            let version = UpdateVersion { e_tag: Some(etag.0.clone()), version: None };
            self.put_if(&self.path(key)?, PutMode::Update(version), &body).await.map_err(explain)
        };
        self.bounded(format!("replace {key}"), call).await
    }
}

fn etag(found: Option<String>) -> Etag {
    // A server without etags could not have taken a conditional write either; nothing matches the empty one.
    Etag(found.unwrap_or_default())
}

/// What happened, and for the errors that a person can mend, what to do.
#[expect(clippy::needless_pass_by_value, reason = "handed to map_err by its name")]
fn explain(error: Error) -> String {
    let hint = match &error {
        Error::NotFound { .. } => "; the bucket has to exist",
        Error::PermissionDenied { .. } => "; the credentials may not do this in the bucket",
        Error::Unauthenticated { .. } => GIVE_CREDENTIALS,
        _ => "",
    };
    whole(&error) + hint
}

/// An error with its sources, each said once.
fn whole(error: &Error) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(error) = cause {
        let more = error.to_string();
        // The library's messages repeat their sources.
        if !text.contains(&more) {
            text = format!("{text}: {more}");
        }
        cause = error.source();
    }
    text
}
