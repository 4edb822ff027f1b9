//! The text that is signed (RFC 9421, 2.5), and the two header fields that carry a signature.

use super::{LABEL, SIGNATURE, SIGNATURE_INPUT};
use http::{HeaderMap, HeaderValue, header::HOST, request, response};
use sfv::{
    BareItem, Dictionary, InnerList, Integer, Item, Key, KeyRef, ListEntry, ListSerializer, Parameters,
    Parser,
};
use std::fmt::Write;

/// Why a message cannot be signed, or its signature not be read.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct BadMessage(pub String);

fn bad<T>(problem: impl Into<String>) -> Result<T, BadMessage> {
    Err(BadMessage(problem.into()))
}

/// What is signed.
#[derive(Clone, Copy)]
pub(super) enum Message<'a> {
    Request(&'a request::Parts),
    Answer(&'a response::Parts),
}

impl Message<'_> {
    fn headers(&self) -> &HeaderMap {
        match self {
            Self::Request(parts) => &parts.headers,
            Self::Answer(parts) => &parts.headers,
        }
    }

    /// The value of a component: of a derived one (RFC 9421, 2.2) or of a field (2.1).
    fn value(&self, name: &str) -> Result<String, BadMessage> {
        match (self, name) {
            (Self::Request(parts), "@method") => Ok(parts.method.as_str().to_owned()),
            (Self::Request(parts), "@path") => Ok(path(parts)),
            (Self::Request(parts), "@query") => Ok(format!("?{}", parts.uri.query().unwrap_or_default())),
            (Self::Request(parts), "@authority") => authority(parts),
            (Self::Answer(parts), "@status") => Ok(parts.status.as_str().to_owned()),
            (_, derived) if derived.starts_with('@') => bad(format!("the component {derived} is not known")),
            (_, field) => self.field(field),
        }
    }

    /// A field's lines, joined.
    pub(super) fn field(&self, name: &str) -> Result<String, BadMessage> {
        let lines: Result<Vec<&str>, _> =
            self.headers().get_all(name).iter().map(|line| line.to_str().map(str::trim)).collect();
        match lines {
            Ok(lines) if lines.is_empty() => bad(format!("there is no field {name}")),
            Ok(lines) => Ok(lines.join(", ")),
            Err(_) => bad(format!("the field {name} holds bytes that are no ASCII")),
        }
    }
}

fn path(parts: &request::Parts) -> String {
    match parts.uri.path() {
        "" => "/".to_owned(),
        path => path.to_owned(),
    }
}

/// The Host, in lower case, without HTTP's own port.
fn authority(parts: &request::Parts) -> Result<String, BadMessage> {
    let host = match (parts.headers.get(HOST), parts.uri.authority()) {
        (Some(host), _) => {
            host.to_str().map_err(|_| BadMessage("the Host holds bytes that are no ASCII".into()))?
        }
        (None, Some(authority)) => authority.as_str(),
        (None, None) => return bad("there is no Host"),
    };
    let host = host.to_ascii_lowercase();
    Ok(host.strip_suffix(":80").map(str::to_owned).unwrap_or(host))
}

/// The covered components and the parameters of one signature.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Input(InnerList);

impl Input {
    pub(super) fn new(
        components: &[&str],
        created: i64,
        nonce: &str,
        keyid: &str,
    ) -> Result<Self, BadMessage> {
        let items = components.iter().map(|name| Ok(Item::new(text(name)?)));
        let mut params = Parameters::new();
        let created =
            Integer::try_from(created).map_err(|_| BadMessage("the time is out of range".into()))?;
        params.insert(key("created"), BareItem::Integer(created));
        params.insert(key("nonce"), text(nonce)?);
        // Any order is right; some readers know this one only.
        params.insert(key("alg"), text("hmac-sha256")?);
        params.insert(key("keyid"), text(keyid)?);
        Ok(Self(InnerList::with_params(items.collect::<Result<_, BadMessage>>()?, params)))
    }

    /// The names of the covered components. Components with parameters (`;req`, `;sf`, …) are not taken.
    pub(super) fn components(&self) -> Result<Vec<&str>, BadMessage> {
        let names = self.0.items.iter().map(plain_name).collect::<Result<Vec<_>, _>>()?;
        let mut sorted = names.clone();
        sorted.sort_unstable();
        match sorted.windows(2).find(|pair| pair[0] == pair[1]) {
            Some(twice) => bad(format!("the component {} is covered twice", twice[0])),
            None => Ok(names),
        }
    }

    pub(super) fn string(&self, name: &str) -> Option<&str> {
        self.0.params.get(name)?.as_string().map(sfv::StringRef::as_str)
    }

    pub(super) fn created(&self) -> Option<i64> {
        self.0.params.get("created")?.as_integer().map(i64::from)
    }

    /// The value of `@signature-params`, serialised again from what was parsed, as the RFC has it.
    fn params(&self) -> String {
        let mut list = ListSerializer::new();
        list.members([&ListEntry::InnerList(self.0.clone())]);
        list.finish().unwrap_or_default()
    }

    /// The text that is signed.
    pub(super) fn base(&self, message: Message<'_>) -> Result<String, BadMessage> {
        let mut base = String::new();
        for name in self.components()? {
            writeln!(base, "\"{name}\": {}", message.value(name)?).expect("a string takes any text");
        }
        write!(base, "\"@signature-params\": {}", self.params()).expect("a string takes any text");
        Ok(base)
    }
}

fn plain_name(item: &Item) -> Result<&str, BadMessage> {
    match (&item.bare_item, item.params.is_empty()) {
        (BareItem::String(name), true) => Ok(name.as_str()),
        _ => bad("a covered component is no plain name"),
    }
}

fn text(value: &str) -> Result<BareItem, BadMessage> {
    match sfv::String::from_string(value.to_owned()) {
        Ok(text) => Ok(BareItem::String(text)),
        Err(_) => bad(format!("{value:?} holds a character that is no printable ASCII")),
    }
}

fn key(name: &'static str) -> Key {
    KeyRef::from_str(name).expect("a lower-case word is a key").to_owned()
}

/// Puts a signature into its two fields.
pub(super) fn attach(headers: &mut HeaderMap, input: &Input, signature: &[u8]) -> Result<(), BadMessage> {
    use base64::Engine as _;
    let encoded = base64::engine::general_purpose::STANDARD.encode(signature);
    headers.insert(SIGNATURE_INPUT, value(&format!("{LABEL}={}", input.params()))?);
    headers.insert(SIGNATURE, value(&format!("{LABEL}=:{encoded}:"))?);
    Ok(())
}

/// A header field's value.
pub(super) fn value(text: &str) -> Result<HeaderValue, BadMessage> {
    HeaderValue::from_str(text).map_err(|_| BadMessage(format!("{text:?} cannot stand in a header field")))
}

/// Reads the signature named `label`, if the message has one.
pub(super) fn read(message: Message<'_>, label: &str) -> Result<Option<(Input, Vec<u8>)>, BadMessage> {
    if !message.headers().contains_key(SIGNATURE_INPUT) || !message.headers().contains_key(SIGNATURE) {
        return Ok(None);
    }
    let mut inputs = dictionary(message, SIGNATURE_INPUT)?;
    let mut signatures = dictionary(message, SIGNATURE)?;
    match (inputs.swap_remove(label), signatures.swap_remove(label)) {
        (None, None) => Ok(None),
        (Some(ListEntry::InnerList(input)), Some(ListEntry::Item(item))) => match item.bare_item {
            BareItem::ByteSequence(bytes) => Ok(Some((Input(input), bytes))),
            _ => bad("the signature is no byte sequence"),
        },
        _ => bad("signature and signature-input do not fit each other"),
    }
}

fn dictionary(message: Message<'_>, name: &str) -> Result<Dictionary, BadMessage> {
    Parser::new(&message.field(name)?)
        .parse::<Dictionary>()
        .map_err(|error| BadMessage(format!("the field {name} is no dictionary: {error}")))
}

#[cfg(test)]
mod tests {
    use super::super::Key as Secret;
    use super::*;
    use base64::Engine as _;
    use base64::engine::general_purpose::STANDARD;
    use http::Request;

    /// The request of RFC 9421, appendix B.2, with the signature of B.2.5.
    fn signed_by_the_rfc() -> request::Parts {
        let request = Request::post("/foo?param=Value&Pet=dog")
            .header("Host", "example.com")
            .header("Date", "Tue, 20 Apr 2021 02:07:55 GMT")
            .header("Content-Type", "application/json")
            .header("Content-Length", "18")
            .header(
                "Signature-Input",
                "sig-b25=(\"date\" \"@authority\" \"content-type\");created=1618884473;keyid=\"test-shared-secret\"",
            )
            .header("Signature", "sig-b25=:pxcQw6G3AjtMBQjwo8XzkZf/bws5LelbaMk5rGIGtE8=:");
        request.body(()).unwrap().into_parts().0
    }

    #[test]
    fn the_rfcs_own_hmac_signature_verifies_and_is_made_again() {
        let secret =
            "uzvJfB4u3N0Jy4T7NZ75MDVcr8zSTInedJtkgcu46YW4XByzNJjxBdtjUkdJPBtbmHhIDi6pcl8jsasjlTMtDQ==";
        let key = Secret::new("test-shared-secret", STANDARD.decode(secret).unwrap());
        let parts = signed_by_the_rfc();
        let message = Message::Request(&parts);
        let (input, signature) = read(message, "sig-b25").unwrap().unwrap();
        let base = input.base(message).unwrap();
        assert_eq!(
            base,
            "\"date\": Tue, 20 Apr 2021 02:07:55 GMT\n\
             \"@authority\": example.com\n\
             \"content-type\": application/json\n\
             \"@signature-params\": (\"date\" \"@authority\" \"content-type\");created=1618884473;keyid=\"test-shared-secret\""
        );
        assert!(key.verifies(base.as_bytes(), &signature));
        assert_eq!(key.sign(base.as_bytes()), signature);
        assert!(!key.verifies(base.to_uppercase().as_bytes(), &signature));
    }

    /// RFC 9421, 2.2 and 2.1, with the values that it gives.
    #[test]
    fn components_have_the_values_of_the_rfc() {
        let request = Request::post("/path?param=value&foo=bar&baz=batman&qux=")
            .header("Host", "www.Example.com:80")
            .header("X-Two", " a ")
            .header("X-Two", "b, c ");
        let parts = request.body(()).unwrap().into_parts().0;
        let message = Message::Request(&parts);
        for (name, value) in [
            ("@method", "POST"),
            ("@path", "/path"),
            ("@query", "?param=value&foo=bar&baz=batman&qux="),
            ("@authority", "www.example.com"),
            ("x-two", "a, b, c"),
        ] {
            assert_eq!(message.value(name).unwrap(), value, "{name}");
        }
        let bare = Request::get("http://Other.example").body(()).unwrap().into_parts().0;
        let bare = Message::Request(&bare);
        assert_eq!(bare.value("@query").unwrap(), "?");
        assert_eq!(bare.value("@path").unwrap(), "/");
        assert_eq!(bare.value("@authority").unwrap(), "other.example");
        assert!(bare.value("@status").is_err() && bare.value("x-none").is_err());
    }

    #[test]
    fn what_is_no_signature_is_an_error_and_never_a_panic() {
        let read = |input: &str, signature: &str| {
            let request = Request::get("/").header(SIGNATURE_INPUT, input).header(SIGNATURE, signature);
            let parts = request.body(()).unwrap().into_parts().0;
            read(Message::Request(&parts), "everup")
                .map(|found| found.map(|(input, _)| input.components().is_ok()))
        };
        assert_eq!(read("other=()", "other=:AAAA:"), Ok(None));
        for (input, signature) in [
            ("(", "x"),
            ("everup", "everup=:AAAA:"),
            ("everup=()", "everup=AAAA"),
            ("everup=()", "other=:AAAA:"),
            ("everup=();created=99999999999999999999", "everup=:AAAA:"),
            ("everup=(\"a\nb\")", "everup=:AAAA:"),
        ] {
            if HeaderValue::from_str(input).is_ok() {
                assert!(read(input, signature).is_err(), "{input}");
            }
        }
        for input in ["everup=(\"a\" \"a\")", "everup=(a)", "everup=(\"a\";req)", "everup=(1)"] {
            assert_eq!(read(input, "everup=:AAAA:"), Ok(Some(false)), "{input}");
        }
    }
}
