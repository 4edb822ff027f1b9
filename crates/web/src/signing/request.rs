//! Signed requests.

use super::base::{BadMessage, Input, Message, attach, read, value};
use super::{CONTENT_DIGEST, FORWARDED, Key, KeyId, LABEL, REQUEST, TO, WINDOW, content_digest, digest};
use everup_core::ids::{Environment, InstanceId};
use everup_core::time::{Millis, Wall};
use everup_engine::identity::Identity;
use http::request::Parts;

/// Who receives: what `everup-to` is compared with.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Receiver {
    /// This instance.
    pub instance: InstanceId,
    /// Its environment: a request for any agent names it.
    pub environment: Environment,
}

impl Receiver {
    /// The receiver that an agent is.
    #[must_use]
    pub fn of(identity: &Identity) -> Self {
        Self { instance: identity.id.clone(), environment: identity.environment.clone() }
    }
}

/// A request whose head was verified. Its body is still to be compared with the digest, and its nonce to be used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Verified {
    /// The key that signed; the answer is signed with the same, so that either side may get a new one first.
    pub key: KeyId,
    /// To be used once.
    pub nonce: String,
    /// When it was made, by the sender's clock.
    pub created: Wall,
    digest: String,
}

impl Verified {
    /// Compares `body` with the digest that the signature covers.
    ///
    /// # Errors
    /// When it is another body.
    pub fn body(&self, body: &[u8]) -> Result<(), Denied> {
        if digest::matches(&self.digest, body) { Ok(()) } else { Err(Denied::Body) }
    }
}

/// Why a request was refused. Nothing was changed.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum Denied {
    /// It has no signature of ours.
    #[error("the request is not signed")]
    Unsigned,
    /// Its signature cannot be read.
    #[error("the request's signature cannot be read: {0}")]
    Malformed(#[from] BadMessage),
    /// Its signature leaves something open that it must cover.
    #[error("the request's signature does not cover {0}")]
    NotCovered(&'static str),
    /// The key is not among ours.
    #[error("the key {0:?} is not known here")]
    UnknownKey(KeyId),
    /// It was signed with another secret, or changed on its way.
    #[error("the signature does not fit the request: it was changed, or signed with another secret")]
    Wrong,
    /// It is meant for somebody else.
    #[error("the request is for {to}, and this is {me}")]
    NotForMe {
        /// Whom it names.
        to: String,
        /// Who was asked.
        me: InstanceId,
    },
    /// It is old, or the two clocks differ.
    #[error("the request was made {} {} the clock here: it is old, or a clock is wrong", .differs, if *.ahead { "ahead of" } else { "behind" })]
    Clock {
        /// How far its creation lies from the clock here.
        differs: Millis,
        /// Whether it lies in the future.
        ahead: bool,
        /// The clock here.
        here: Wall,
    },
    /// Its body is not the one that was signed.
    #[error("the body is not the one that was signed")]
    Body,
    /// The same request came before.
    #[error("the request came before")]
    Replayed,
    /// The machine has been started anew since, and no longer knows what came before.
    #[error("the request was made before this machine was started")]
    BeforeStart,
    /// More nonces than can be remembered came in a short time, or they cannot be written down.
    #[error("the request's nonce cannot be remembered: {0}")]
    NoRoom(String),
}

impl Denied {
    /// Whether it is not known that the sender has a key.
    #[must_use]
    pub const fn is_to_a_stranger(&self) -> bool {
        match self {
            Self::Unsigned | Self::Malformed(_) | Self::NotCovered(_) | Self::UnknownKey(_) | Self::Wrong => {
                true
            }
            Self::NotForMe { .. }
            | Self::Clock { .. }
            | Self::Body
            | Self::Replayed
            | Self::BeforeStart
            | Self::NoRoom(_) => false,
        }
    }
}

/// Signs a request: sets `everup-to`, `content-digest`, `signature-input` and `signature`. The Host has to be set.
///
/// # Errors
/// When it has no Host, or a part cannot stand in a header field.
pub fn sign_request(
    parts: &mut Parts,
    body: &[u8],
    to: &str,
    key: &Key,
    now: Wall,
    nonce: &str,
) -> Result<(), BadMessage> {
    parts.headers.insert(TO, value(to)?);
    parts.headers.insert(CONTENT_DIGEST, value(&content_digest(body))?);
    let mut covered = REQUEST.to_vec();
    if parts.headers.contains_key(FORWARDED) {
        covered.push(FORWARDED);
    }
    let input = Input::new(&covered, seconds(now), nonce, &key.id)?;
    let signature = key.sign(input.base(Message::Request(parts))?.as_bytes());
    attach(&mut parts.headers, &input, &signature)
}

/// Verifies a request's head: signature, receiver, clock. `keys` are those that are valid now.
///
/// # Errors
/// When it is to be refused.
pub fn verify_request(parts: &Parts, keys: &[Key], me: &Receiver, now: Wall) -> Result<Verified, Denied> {
    let message = Message::Request(parts);
    let (input, signature) = read(message, LABEL)?.ok_or(Denied::Unsigned)?;
    covers_enough(&input, parts)?;
    let verified = authentic(message, &input, &signature, keys)?;
    for_me(&message.field(TO)?, me)?;
    in_time(verified.created, now)?;
    Ok(verified)
}

fn covers_enough(input: &Input, parts: &Parts) -> Result<(), Denied> {
    let covered = input.components()?;
    let forwarded = parts.headers.contains_key(FORWARDED).then_some(FORWARDED);
    match REQUEST.into_iter().chain(forwarded).find(|needed| !covered.contains(needed)) {
        Some(open) => Err(Denied::NotCovered(open)),
        None => Ok(()),
    }
}

fn authentic(
    message: Message<'_>,
    input: &Input,
    signature: &[u8],
    keys: &[Key],
) -> Result<Verified, Denied> {
    let id = input.string("keyid").ok_or(Denied::NotCovered("keyid"))?;
    let nonce = input.string("nonce").ok_or(Denied::NotCovered("nonce"))?;
    let created = input.created().ok_or(Denied::NotCovered("created"))?;
    let key = keys.iter().find(|key| key.id == id).ok_or_else(|| Denied::UnknownKey(id.to_owned()))?;
    if input.string("alg").is_some_and(|alg| alg != "hmac-sha256")
        || !key.verifies(input.base(message)?.as_bytes(), signature)
    {
        return Err(Denied::Wrong);
    }
    Ok(Verified {
        key: key.id.clone(),
        nonce: nonce.to_owned(),
        created: Wall(u64::try_from(created).unwrap_or(0).saturating_mul(1_000)),
        digest: message.field(CONTENT_DIGEST)?,
    })
}

fn for_me(to: &str, me: &Receiver) -> Result<(), Denied> {
    if to == me.instance.as_str() || to == me.environment.as_str() {
        return Ok(());
    }
    Err(Denied::NotForMe { to: to.to_owned(), me: me.instance.clone() })
}

fn in_time(created: Wall, now: Wall) -> Result<(), Denied> {
    let ahead = created > now;
    let differs = if ahead { created.since(now) } else { now.since(created) };
    if differs > WINDOW { Err(Denied::Clock { differs, ahead, here: now }) } else { Ok(()) }
}

/// RFC 9421 counts whole seconds.
pub(super) fn seconds(at: Wall) -> i64 {
    i64::try_from(at.0 / 1_000).unwrap_or(i64::MAX)
}

/// What a request says of itself: to be believed only when its signature was verified, or was refused for a reason
/// that is found after that.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Claim {
    /// The key that it names.
    pub key: KeyId,
    /// The nonce that it names.
    pub nonce: String,
}

/// What a request that was refused says of itself, if its sender has a key: the refusal is signed for it. To a
/// stranger nothing is signed, lest somebody between two agents makes one believe that it was refused.
#[must_use]
pub fn claim_of(parts: &Parts, denied: &Denied) -> Option<Claim> {
    if denied.is_to_a_stranger() {
        return None;
    }
    let (input, _) = read(Message::Request(parts), LABEL).ok()??;
    Some(Claim { key: input.string("keyid")?.to_owned(), nonce: input.string("nonce")?.to_owned() })
}
