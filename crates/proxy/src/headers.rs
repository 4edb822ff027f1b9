//! What a proxy changes in a head: headers of one hop only go, and who asked is said truthfully.

use crate::config::Config;
use crate::peer::Peer;
use http::header::{
    CONNECTION, CONTENT_LENGTH, FORWARDED, HOST, HeaderName, HeaderValue, TE, TRANSFER_ENCODING, UPGRADE,
};
use http::{HeaderMap, Method, Uri, Version};
use std::time::Duration;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_FORWARDED_PORT: HeaderName = HeaderName::from_static("x-forwarded-port");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The protocol that a request wants to change to, if it does.
pub(crate) fn wanted_upgrade(version: Version, headers: &HeaderMap) -> Option<HeaderValue> {
    let wanted = headers.get(UPGRADE).filter(|_| version == Version::HTTP_11)?;
    has_token(headers, &CONNECTION, "upgrade").then(|| wanted.clone())
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|t| t.eq_ignore_ascii_case(token))
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).map(str::trim)
}

static HOP: [HeaderName; 6] = [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TRANSFER_ENCODING, UPGRADE, TE];

/// Takes off what is meant for this hop only. Most heads have next to nothing of it: to look at each name once costs
/// less than to look each of ours up.
pub(crate) fn strip_hop(headers: &mut HeaderMap) {
    let mut there = [false; 6];
    for name in headers.keys() {
        HOP.iter().zip(&mut there).for_each(|(hop, there)| *there |= hop == name);
    }
    if !there.contains(&true) {
        return;
    }
    let named: Vec<_> = tokens(headers, &CONNECTION).filter_map(named).collect();
    let trailers = has_token(headers, &TE, "trailers");
    let usual = HOP.iter().zip(there).filter_map(|(hop, there)| there.then_some(hop));
    for name in usual.chain(&named) {
        headers.remove(name);
    }
    if trailers {
        headers.insert(TE, HeaderValue::from_static("trailers"));
    }
}

/// The header that a word of `Connection` names, unless it is one of the usual words.
fn named(token: &str) -> Option<HeaderName> {
    let usual = ["keep-alive", "close", "upgrade"].iter().any(|usual| token.eq_ignore_ascii_case(usual));
    if usual { None } else { HeaderName::from_bytes(token.as_bytes()).ok() }
}

/// Asks for, or agrees to, another protocol on this hop.
pub(crate) fn set_upgrade(headers: &mut HeaderMap, protocol: HeaderValue) {
    headers.insert(CONNECTION, HeaderValue::from_static("upgrade"));
    headers.insert(UPGRADE, protocol);
}

/// The framing that the app sees follows from the body as it was understood here, not from what the client wrote.
pub(crate) fn frame(headers: &mut HeaderMap, length: Option<u64>, has_body: bool) {
    if has_body && length.is_none() {
        headers.remove(CONTENT_LENGTH);
        headers.insert(TRANSFER_ENCODING, HeaderValue::from_static("chunked"));
    }
}

/// The form of the target that an origin server takes; the authority goes to `Host` (HTTP/2 has it in the target).
pub(crate) fn to_origin(uri: &mut Uri, headers: &mut HeaderMap) {
    if let Some(authority) = uri.authority() {
        // RFC 9112, 3.2.2: an absolute target overrules the Host header.
        if let Ok(host) = HeaderValue::from_str(authority.as_str().rsplit('@').next().unwrap_or_default()) {
            headers.insert(HOST, host);
        }
        *uri = uri.path_and_query().cloned().map(Uri::from).unwrap_or_default();
    }
}

/// Says who asked: instead of what a stranger claims, and after what a trusted balancer knows.
pub(crate) fn set_forwarded(headers: &mut HeaderMap, peer: &Peer, config: &Config) {
    let host = headers.get(HOST).cloned();
    let (address, forwarded) = (peer.text(), peer.forwarded(host.as_ref()));
    if config.trusted.contains(&peer.ip) {
        add(headers, X_FORWARDED_FOR, address);
        add(headers, FORWARDED, forwarded);
    } else {
        if headers.keys().any(|name| name.as_str().starts_with("x-")) {
            for name in [X_FORWARDED_HOST, X_FORWARDED_PROTO, X_FORWARDED_PORT, X_REAL_IP] {
                headers.remove(name);
            }
        }
        headers.insert(X_FORWARDED_FOR, address);
        headers.insert(FORWARDED, forwarded);
    }
    headers.entry(X_FORWARDED_PROTO).or_insert(HeaderValue::from_static("http"));
    if let Some(host) = host {
        headers.entry(X_FORWARDED_HOST).or_insert(host);
    }
}

/// After theirs.
fn add(headers: &mut HeaderMap, name: HeaderName, mine: HeaderValue) {
    let theirs = tokens(headers, &name).chain(mine.to_str().ok()).collect::<Vec<_>>().join(", ");
    headers.insert(name, HeaderValue::try_from(theirs).unwrap_or(mine));
}

/// How long an app says that it keeps an idle connection.
pub(crate) fn announced_keep_alive(headers: &HeaderMap) -> Option<Duration> {
    if has_token(headers, &CONNECTION, "close") {
        return Some(Duration::ZERO);
    }
    let timeout = tokens(headers, &KEEP_ALIVE).find_map(|t| t.strip_prefix("timeout="))?;
    timeout.parse().ok().map(Duration::from_secs)
}

/// Whether a request that was sent, and of whose answer not a byte came, may be sent once more.
pub(crate) fn is_repeatable(method: &Method, has_body: bool) -> bool {
    !has_body && matches!(*method, Method::GET | Method::HEAD | Method::OPTIONS)
}

/// What a head takes in memory, roughly.
pub(crate) fn size(uri: &Uri, headers: &HeaderMap) -> u64 {
    let fields: usize = headers.iter().map(|(name, value)| name.as_str().len() + value.len() + 64).sum();
    (fields + uri.path().len() + uri.query().map_or(0, str::len) + 512) as u64
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::net::IpAddr;

    fn headers(fields: &[(&'static str, &'static str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in fields {
            map.append(*name, HeaderValue::from_static(value));
        }
        map
    }

    #[test]
    fn what_connection_names_goes_too() {
        let mut map = headers(&[
            ("connection", "close, X-Secret"),
            ("x-secret", "1"),
            ("keep-alive", "timeout=5"),
            ("te", "gzip, trailers"),
            ("transfer-encoding", "chunked"),
            ("upgrade", "h2c"),
            ("accept", "*/*"),
        ]);
        strip_hop(&mut map);
        assert_eq!(map, headers(&[("te", "trailers"), ("accept", "*/*")]));
    }

    #[test]
    fn a_stranger_cannot_say_who_asks() {
        let claims = [
            ("host", "shop.example"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=10.0.0.1"),
            ("x-real-ip", "10.0.0.1"),
        ];
        let mut map = headers(&claims);
        set_forwarded(&mut map, &Peer::new("192.0.2.9".parse().unwrap()), &Config::default());
        let expected = headers(&[
            ("host", "shop.example"),
            ("x-forwarded-for", "192.0.2.9"),
            ("x-forwarded-proto", "http"),
            ("x-forwarded-host", "shop.example"),
            ("forwarded", "for=192.0.2.9;host=\"shop.example\";proto=http"),
        ]);
        assert_eq!(map, expected);
    }

    #[test]
    fn a_trusted_balancer_is_added_to() {
        let balancer: IpAddr = "2001:db8::1".parse().unwrap();
        let config = Config { trusted: vec![balancer], ..Config::default() };
        let mut map = headers(&[("x-forwarded-for", "192.0.2.9"), ("x-forwarded-proto", "https")]);
        set_forwarded(&mut map, &Peer::new(balancer), &config);
        assert_eq!(map["x-forwarded-for"], "192.0.2.9, 2001:db8::1");
        assert_eq!(map["x-forwarded-proto"], "https");
        assert_eq!(map["forwarded"], "for=\"[2001:db8::1]\";proto=http");
    }

    #[test]
    fn an_absolute_target_overrules_the_host() {
        let mut map = headers(&[("host", "other.example")]);
        let mut uri = Uri::from_static("http://shop.example:81/a?b=c");
        to_origin(&mut uri, &mut map);
        assert_eq!(
            (uri.to_string().as_str(), &map["host"]),
            ("/a?b=c", &HeaderValue::from_static("shop.example:81"))
        );
    }

    #[test]
    fn only_what_has_no_effect_is_repeatable() {
        assert!(is_repeatable(&Method::GET, false) && is_repeatable(&Method::OPTIONS, false));
        assert!(!is_repeatable(&Method::GET, true));
        for method in [Method::POST, Method::PUT, Method::DELETE, Method::PATCH] {
            assert!(!is_repeatable(&method, false), "{method}");
        }
    }
}
