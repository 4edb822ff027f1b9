//! Digests of bodies (RFC 9530, sha-256).

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use sfv::{BareItem, Dictionary, ListEntry, Parser};
use sha2::{Digest, Sha256};

/// The value of the field `content-digest` for `body`.
#[must_use]
pub fn content_digest(body: &[u8]) -> String {
    format!("sha-256=:{}:", STANDARD.encode(Sha256::digest(body)))
}

/// Whether `field` names the SHA-256 of `body`. Digests by other algorithms are neither needed nor looked at.
pub(super) fn matches(field: &str, body: &[u8]) -> bool {
    let Ok(named) = Parser::new(field).parse::<Dictionary>() else { return false };
    match named.get("sha-256") {
        Some(ListEntry::Item(item)) => match &item.bare_item {
            BareItem::ByteSequence(bytes) => bytes.as_slice() == Sha256::digest(body).as_slice(),
            _ => false,
        },
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 9530, appendix B.1 and B.2.
    #[test]
    fn the_digests_of_the_rfc() {
        let body = b"{\"hello\": \"world\"}\n";
        let field = "sha-256=:RK/0qy18MlBSVnWgjwz6lZEWjP/lF5HF9bvEF8FabDg=:";
        assert_eq!(content_digest(body), field);
        assert!(matches(field, body));
        assert!(matches(&format!("sha-512=:AAAA:, {field}"), body));
        assert!(!matches(field, b"{\"hello\": \"world\"}"));
        assert_eq!(content_digest(b""), "sha-256=:47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU=:");
    }

    #[test]
    fn nothing_but_a_sha256_counts() {
        for field in ["", "sha-256", "sha-256=AAAA", "sha-512=:AAAA:", "sha-256=(:AAAA:)"] {
            assert!(!matches(field, b""), "{field}");
        }
    }
}
