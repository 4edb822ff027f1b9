//! HTTP message signatures (RFC 9421, hmac-sha256) between agents, and between the CLI and agents.
//!
//! A request's signature covers [`REQUEST`]: method, path, query, authority, whom it is for, and the digest of its
//! body, besides when it was made, a nonce and the key's id. An answer's covers [`ANSWER`] and names the request's
//! nonce, so that an old answer cannot be played again.
//!
//! Laws: the order of the checks is signature, receiver, clock, body, nonce, so that nothing is said to one who does
//! not have a key, and no nonce is used up by a message that was changed. Comparison takes the same time
//! wherever two digests differ. Time is handed in. A clock that is off is its own refusal ([`Denied::Clock`]).
//!
//! The key is symmetric: who can verify can also sign. It keeps strangers out; it does not tell agents apart.

mod answer;
mod base;
mod digest;
mod key;
mod nonces;
mod request;

pub use answer::{BadAnswer, sign_answer, sign_event, verify_answer, verify_event};
pub use base::BadMessage;
pub use digest::content_digest;
pub use key::{Key, KeyId};
pub use nonces::{BadNonces, Nonces, Use};
pub use request::{Claim, Denied, Receiver, Verified, claim_of, sign_request, verify_request};

use everup_core::time::Millis;

/// How far a request's creation may lie from the receiver's clock, either way.
pub const WINDOW: Millis = Millis::from_secs(120);

/// Names whom a request is for: an instance's id, or the environment's name where any agent will do.
pub const TO: &str = "everup-to";

/// Set by an agent that hands a request on: it is not handed on again.
pub const FORWARDED: &str = "everup-forwarded";

/// The digest of a body (RFC 9530).
pub const CONTENT_DIGEST: &str = "content-digest";

const SIGNATURE: &str = "signature";
const SIGNATURE_INPUT: &str = "signature-input";

/// The name under which our signatures stand in their header fields.
const LABEL: &str = "everup";

/// What a request's signature has to cover, in the order in which it is signed here.
pub const REQUEST: [&str; 6] = ["@method", "@path", "@query", "@authority", TO, CONTENT_DIGEST];

/// What an answer's signature has to cover. An answer that is a stream has no digest: its events are signed.
pub const ANSWER: [&str; 2] = ["@status", CONTENT_DIGEST];

/// A fresh nonce: 128 random bits.
#[must_use]
pub fn nonce() -> String {
    use base64::Engine as _;
    let mut bytes = [0_u8; 16];
    random(&mut bytes);
    base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(bytes)
}

/// Fills `bytes` from the kernel's generator.
pub(crate) fn random(bytes: &mut [u8]) {
    let mut filled = 0;
    while filled < bytes.len() {
        match rustix::rand::getrandom(&mut bytes[filled..], rustix::rand::GetRandomFlags::empty()) {
            Ok(n) => filled += n,
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => panic!("the kernel gives no random bytes: {error}"),
        }
    }
}
