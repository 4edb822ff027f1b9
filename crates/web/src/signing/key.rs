//! One shared key.

use hmac::{Hmac, KeyInit, Mac};
use serde::{Deserialize, Serialize};
use sha2::Sha256;
use std::fmt;

/// Names a key in a signature.
pub type KeyId = String;

/// A key that signs and verifies. Its secret is never printed.
#[derive(Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Key {
    /// Its name.
    pub id: KeyId,
    /// Its bytes.
    #[serde(with = "hex")]
    secret: Vec<u8>,
}

impl Key {
    /// The key `id` with these bytes.
    #[must_use]
    pub fn new(id: impl Into<KeyId>, secret: impl Into<Vec<u8>>) -> Self {
        Self { id: id.into(), secret: secret.into() }
    }

    /// A new key of 256 random bits, named by 32 others.
    #[must_use]
    pub fn random() -> Self {
        let mut bytes = [0_u8; 36];
        super::random(&mut bytes);
        let (name, secret) = bytes.split_at(4);
        Self::new(hex::encode(name), secret)
    }

    /// How many bytes its secret has.
    #[must_use]
    pub fn length(&self) -> usize {
        self.secret.len()
    }

    pub(super) fn sign(&self, text: &[u8]) -> Vec<u8> {
        self.mac(text).finalize().into_bytes().to_vec()
    }

    /// In the same time wherever the two differ.
    pub(super) fn verifies(&self, text: &[u8], signature: &[u8]) -> bool {
        self.mac(text).verify_slice(signature).is_ok()
    }

    fn mac(&self, text: &[u8]) -> Hmac<Sha256> {
        Hmac::<Sha256>::new_from_slice(&self.secret)
            .expect("HMAC takes keys of any length")
            .chain_update(text)
    }
}

impl fmt::Debug for Key {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Key").field("id", &self.id).finish_non_exhaustive()
    }
}

/// Bytes as hex digits.
mod hex {
    use serde::{Deserialize, Deserializer, Serializer, de::Error};
    use std::fmt::Write;

    pub(super) fn encode(bytes: &[u8]) -> String {
        bytes.iter().fold(String::new(), |mut text, byte| {
            write!(text, "{byte:02x}").expect("a string takes any text");
            text
        })
    }

    fn decode(text: &str) -> Option<Vec<u8>> {
        let digits: Vec<u8> = text.chars().map(|c| c.to_digit(16).map(|d| d as u8)).collect::<Option<_>>()?;
        let (pairs, rest) = digits.as_chunks::<2>();
        rest.is_empty().then(|| pairs.iter().map(|[high, low]| high << 4 | low).collect())
    }

    #[expect(clippy::ptr_arg, reason = "the signature that serde's `with` calls")]
    pub(super) fn serialize<S: Serializer>(bytes: &Vec<u8>, to: S) -> Result<S::Ok, S::Error> {
        to.serialize_str(&encode(bytes))
    }

    pub(super) fn deserialize<'de, D: Deserializer<'de>>(from: D) -> Result<Vec<u8>, D::Error> {
        let text = String::deserialize(from)?;
        decode(&text).ok_or_else(|| D::Error::custom("a secret is an even number of hex digits"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_secret_survives_its_file_and_is_never_printed() {
        let key = Key::new("a", [0x0f, 0xff, 0x00]);
        let text = serde_json::to_string(&key).unwrap();
        assert_eq!(text, r#"{"id":"a","secret":"0fff00"}"#);
        assert_eq!(serde_json::from_str::<Key>(&text).unwrap(), key);
        assert!(!format!("{key:?}").contains("255"));
        assert!(serde_json::from_str::<Key>(r#"{"id":"a","secret":"0ff"}"#).is_err());
    }

    #[test]
    fn two_random_keys_differ() {
        let (a, b) = (Key::random(), Key::random());
        assert!(a.id != b.id && a.secret != b.secret && a.length() == 32);
    }
}
