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
        params.insert(key("keyid"), text(keyid)?);
        params.insert(key("alg"), text("hmac-sha256")?);
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
        self.0.params.get(name)?.as_string().map(|text| text.as_str())
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
