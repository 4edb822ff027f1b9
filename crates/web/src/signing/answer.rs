//! Signed answers, and signed events of an answer that is a stream.

use super::base::{BadMessage, Input, Message, attach, read, value};
use super::request::seconds;
use super::{ANSWER, CONTENT_DIGEST, Key, KeyId, LABEL, content_digest, digest};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use everup_core::time::Wall;
use http::response::Parts;

/// Why an answer is not believed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum BadAnswer {
    /// It has no signature of ours.
    #[error("the answer is not signed")]
    Unsigned,
    /// Its signature cannot be read.
    #[error("the answer's signature cannot be read: {0}")]
    Malformed(#[from] BadMessage),
    /// Its signature leaves something open that it must cover.
    #[error("the answer's signature does not cover {0}")]
    NotCovered(&'static str),
    /// It answers another request.
    #[error("the answer belongs to another request")]
    OtherRequest,
    /// The key is not among ours.
    #[error("the answer is signed with the key {0:?}, which is not known here")]
    UnknownKey(KeyId),
    /// It was signed with another secret, or changed on its way.
    #[error("the signature does not fit the answer: it was changed, or signed with another secret")]
    Wrong,
    /// Its body is not the one that was signed.
    #[error("the answer's body is not the one that was signed")]
    Body,
}

/// Signs the answer to the request that had `nonce`. A stream has no `body`: its events are signed one by one.
///
/// # Errors
/// When a part cannot stand in a header field.
pub fn sign_answer(
    parts: &mut Parts,
    body: Option<&[u8]>,
    nonce: &str,
    key: &Key,
    now: Wall,
) -> Result<(), BadMessage> {
    if let Some(body) = body {
        parts.headers.insert(CONTENT_DIGEST, value(&content_digest(body))?);
    }
    let input = Input::new(covered(body), seconds(now), nonce, &key.id)?;
    let signature = key.sign(input.base(Message::Answer(parts))?.as_bytes());
    attach(&mut parts.headers, &input, &signature)
}

/// Verifies the answer to the request that had `nonce`. It needs no clock: nobody had the nonce before.
///
/// # Errors
/// When it is not to be believed.
pub fn verify_answer(parts: &Parts, body: Option<&[u8]>, nonce: &str, keys: &[Key]) -> Result<(), BadAnswer> {
    let message = Message::Answer(parts);
    let (input, signature) = read(message, LABEL)?.ok_or(BadAnswer::Unsigned)?;
    let components = input.components()?;
    if let Some(open) = covered(body).iter().find(|needed| !components.contains(needed)) {
        return Err(BadAnswer::NotCovered(open));
    }
    let id = input.string("keyid").ok_or(BadAnswer::NotCovered("keyid"))?;
    let key = keys.iter().find(|key| key.id == id).ok_or_else(|| BadAnswer::UnknownKey(id.to_owned()))?;
    if !key.verifies(input.base(message)?.as_bytes(), &signature) {
        return Err(BadAnswer::Wrong);
    }
    if input.string("nonce") != Some(nonce) {
        return Err(BadAnswer::OtherRequest);
    }
    match body {
        Some(body) if !digest::matches(&message.field(CONTENT_DIGEST)?, body) => Err(BadAnswer::Body),
        _ => Ok(()),
    }
}

fn covered(body: Option<&[u8]>) -> &'static [&'static str] {
    if body.is_some() { &ANSWER } else { &ANSWER[..1] }
}

/// The signature of the event `index` of the stream that answers `nonce`: neither can be left out, repeated or
/// moved to another stream without being noticed.
#[must_use]
pub fn sign_event(key: &Key, nonce: &str, index: u64, data: &str) -> String {
    STANDARD.encode(key.sign(event(nonce, index, data).as_bytes()))
}

/// Whether `signature` is that of [`sign_event`].
#[must_use]
pub fn verify_event(key: &Key, nonce: &str, index: u64, data: &str, signature: &str) -> bool {
    STANDARD.decode(signature).is_ok_and(|bytes| key.verifies(event(nonce, index, data).as_bytes(), &bytes))
}

/// Begins as no signature base does, so that neither passes for the other.
fn event(nonce: &str, index: u64, data: &str) -> String {
    format!("everup-event {index} {nonce}\n{data}")
}
