//! One shared object of the store: read it, swap it, and know one's own success.
//!
//! After "lost", an error or silence the writer reads, and its own write id means success. Nobody acts on "it did
//! not succeed": when the store stays silent the caller gets [`StoreError`], and knows only that it does not know.

use everup_core::head::{HEAD_FORM, Head};
use everup_core::ids::WriteId;
use everup_core::instance::{ANNOUNCEMENT_FORM, Announcement};
use everup_core::record::{RECORD_FORM, Record};
use everup_core::seams::{Chance, Clock, Etag, Got, Seams, Store, StoreError, Wrote};
use everup_core::time::Millis;
use serde::Serialize;
use serde::de::DeserializeOwned;

/// An object that marks each of its writes.
pub(crate) trait Marked: Serialize + DeserializeOwned {
    /// The form that this version writes, and reads.
    const FORM: u32;
    fn mark(&self) -> &WriteId;
    fn set_mark(&mut self, id: WriteId);
}

macro_rules! marked {
    ($($type:ty = $form:expr),*) => {$(
        impl Marked for $type {
            const FORM: u32 = $form;
            fn mark(&self) -> &WriteId {
                &self.write
            }
            fn set_mark(&mut self, id: WriteId) {
                self.write = id;
            }
        }
    )*};
}

marked!(Head = HEAD_FORM, Record = RECORD_FORM, Announcement = ANNOUNCEMENT_FORM);

/// An object as it was read, with what is needed to replace it.
#[derive(Debug, Clone)]
pub(crate) struct Object<T> {
    pub(crate) value: T,
    pub(crate) etag: Etag,
}

/// How a swap ended.
#[derive(Debug)]
pub(crate) enum Swapped<T> {
    /// It is stored.
    Done(Object<T>),
    /// Somebody else was first; this is what is there.
    Rival(Option<Object<T>>),
}

/// So often a write whose outcome is unknown is looked for and tried again, before the caller is told that the store
/// does not answer: with the waits below, about 4 s.
const TRIES: u32 = 6;

pub(crate) fn fresh_mark(chance: &impl Chance) -> WriteId {
    WriteId::new(format!("{:016x}{:016x}", chance.next(), chance.next()))
        .expect("32 hex digits are a valid id")
}

/// Reads `key`.
pub(crate) async fn read<T: Marked>(seams: &impl Seams, key: &str) -> Result<Option<Object<T>>, StoreError> {
    match seams.store().get(key, None).await? {
        Got::Missing | Got::Unchanged => Ok(None),
        Got::Found { etag, body } => {
            let value = parse(key, &body)?;
            Ok(Some(Object { value, etag }))
        }
    }
}

/// Reads `key` again; `None` if it still is what `last` is.
pub(crate) async fn reread<T: Marked>(
    seams: &impl Seams,
    key: &str,
    last: &Option<Object<T>>,
) -> Result<Option<Option<Object<T>>>, StoreError> {
    let etag = last.as_ref().map(|object| &object.etag);
    match seams.store().get(key, etag).await? {
        Got::Unchanged => Ok(None),
        Got::Missing => Ok(Some(None)),
        Got::Found { etag, body } => Ok(Some(Some(Object { value: parse(key, &body)?, etag }))),
    }
}

/// What another version of everup wrote is not guessed at: what it knows more would be lost with the next write.
fn parse<T: Marked>(key: &str, body: &[u8]) -> Result<T, StoreError> {
    let refused = |happened| StoreError { wanted: format!("read {key}"), happened };
    match serde_json::from_slice::<Form>(body) {
        Ok(Form { form }) if form != T::FORM => {
            let ours = T::FORM;
            return Err(refused(format!(
                "another version of everup wrote it (form {form}, this one knows {ours}): run that version"
            )));
        }
        _ => {}
    }
    let strange = |error| refused(format!("it is not what this version of everup writes: {error}"));
    serde_json::from_slice(body).map_err(strange)
}

#[derive(serde::Deserialize)]
struct Form {
    form: u32,
}

/// Creates `key` (`last` is none) or replaces what was read, and settles whether it happened.
pub(crate) async fn swap<T: Marked>(
    seams: &impl Seams,
    key: &str,
    last: Option<&Etag>,
    mut value: T,
) -> Result<Swapped<T>, StoreError> {
    value.set_mark(fresh_mark(seams.chance()));
    let body = serde_json::to_vec_pretty(&value)
        .map_err(|error| StoreError { wanted: format!("write {key}"), happened: error.to_string() })?;
    let mut trouble = None;
    for attempt in 0..TRIES {
        let wrote = match last {
            None => seams.store().create(key, body.clone()).await,
            Some(etag) => seams.store().replace(key, etag, body.clone()).await,
        };
        match wrote {
            Ok(Wrote::Done(etag)) => return Ok(Swapped::Done(Object { value, etag })),
            Ok(Wrote::Lost) => match settle(seams, key, last, &value).await {
                // A store may say "conflict" of a write that met nobody: what was read is still there.
                Ok(Settled::AsBefore) => {}
                Ok(Settled::Ours(etag)) => return Ok(Swapped::Done(Object { value, etag })),
                Ok(Settled::Theirs(theirs)) => return Ok(Swapped::Rival(theirs)),
                Err(error) => trouble = Some(error),
            },
            Err(error) => match settle(seams, key, last, &value).await {
                Ok(Settled::Ours(etag)) => return Ok(Swapped::Done(Object { value, etag })),
                Ok(Settled::Theirs(theirs)) => return Ok(Swapped::Rival(theirs)),
                Ok(Settled::AsBefore) | Err(_) => trouble = Some(error),
            },
        }
        let pause = Millis(50 << attempt);
        seams.clock().until(seams.clock().mono() + pause).await;
    }
    Err(trouble.unwrap_or_else(|| StoreError {
        wanted: format!("write {key}"),
        happened: format!("a conflict with nobody, {TRIES} times"),
    }))
}

enum Settled<T> {
    Ours(Etag),
    Theirs(Option<Object<T>>),
    AsBefore,
}

async fn settle<T: Marked>(
    seams: &impl Seams,
    key: &str,
    last: Option<&Etag>,
    ours: &T,
) -> Result<Settled<T>, StoreError> {
    Ok(match read::<T>(seams, key).await? {
        Some(found) if found.value.mark() == ours.mark() => Settled::Ours(found.etag),
        Some(found) if Some(&found.etag) == last => Settled::AsBefore,
        None if last.is_none() => Settled::AsBefore,
        found => Settled::Theirs(found),
    })
}
