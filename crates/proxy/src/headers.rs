//! What a proxy changes in a head: headers of one hop only go, and who asked is said truthfully.

use crate::config::Config;
use crate::peer::Peer;
use http::header::{
    CONNECTION, CONTENT_LENGTH, COOKIE, FORWARDED, HOST, HeaderName, HeaderValue, TE, TRANSFER_ENCODING,
    UPGRADE,
};
use http::{HeaderMap, Method, Uri, Version};
use std::time::Duration;

const KEEP_ALIVE: HeaderName = HeaderName::from_static("keep-alive");
const PROXY_CONNECTION: HeaderName = HeaderName::from_static("proxy-connection");
const HTTP2_SETTINGS: HeaderName = HeaderName::from_static("http2-settings");
const X_FORWARDED_FOR: HeaderName = HeaderName::from_static("x-forwarded-for");
const X_FORWARDED_HOST: HeaderName = HeaderName::from_static("x-forwarded-host");
const X_FORWARDED_PROTO: HeaderName = HeaderName::from_static("x-forwarded-proto");
const X_REAL_IP: HeaderName = HeaderName::from_static("x-real-ip");

/// The protocol that a request wants to change to, if it does. HTTP/2 is none: its requests would reach the app unseen, with
/// whatever they say of who asks. (A server may ignore the wish: RFC 9110, 7.8.)
pub(crate) fn wanted_upgrade(version: Version, headers: &HeaderMap) -> Option<HeaderValue> {
    let wanted = headers.get(UPGRADE).filter(|_| version == Version::HTTP_11)?;
    let may = has_token(headers, &CONNECTION, "upgrade") && !has_token(headers, &UPGRADE, "h2c");
    may.then(|| wanted.clone())
}

fn has_token(headers: &HeaderMap, name: &HeaderName, token: &str) -> bool {
    tokens(headers, name).any(|t| t.eq_ignore_ascii_case(token))
}

fn tokens<'a>(headers: &'a HeaderMap, name: &HeaderName) -> impl Iterator<Item = &'a str> {
    let values = headers.get_all(name).into_iter().filter_map(|v| v.to_str().ok());
    values.flat_map(|v| v.split(',')).map(str::trim)
}

static HOP: [HeaderName; 7] =
    [CONNECTION, KEEP_ALIVE, PROXY_CONNECTION, TRANSFER_ENCODING, UPGRADE, TE, HTTP2_SETTINGS];

/// Takes off what is meant for this hop only. Most heads have next to nothing of it: to look at each name once costs
/// less than to look each of ours up.
pub(crate) fn strip_hop(headers: &mut HeaderMap) {
    let mut there = [false; HOP.len()];
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

/// Takes off an app's answer what is meant for this hop only. An encoding overrules a length that stands beside it
/// (RFC 9112, 6.3).
pub(crate) fn strip_answer(headers: &mut HeaderMap) {
    if headers.contains_key(TRANSFER_ENCODING) {
        headers.remove(CONTENT_LENGTH);
    }
    strip_hop(headers);
}

/// HTTP/2 may bring a cookie a field; HTTP/1.1 has one field for all (RFC 9113, 8.2.3).
pub(crate) fn join_cookies(headers: &mut HeaderMap) {
    if headers.get_all(COOKIE).iter().nth(1).is_none() {
        return;
    }
    let cookies: Vec<&[u8]> = headers.get_all(COOKIE).iter().map(HeaderValue::as_bytes).collect();
    if let Ok(joined) = HeaderValue::from_bytes(&cookies.join(b"; ".as_slice())) {
        headers.insert(COOKIE, joined);
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
        let claims = |name: &&HeaderName| name.as_str().starts_with("x-forwarded-") || **name == X_REAL_IP;
        for claim in headers.keys().filter(claims).cloned().collect::<Vec<_>>() {
            headers.remove(claim);
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
    fn nobody_gets_a_tunnel_of_http_2() {
        let wants = |upgrade| {
            let map = headers(&[
                ("connection", "Upgrade, HTTP2-Settings"),
                ("upgrade", upgrade),
                ("http2-settings", "AAMAAABk"),
            ]);
            wanted_upgrade(Version::HTTP_11, &map)
        };
        assert_eq!([wants("h2c"), wants("websocket, H2C")], [None, None]);
        assert_eq!(wants("websocket").unwrap(), "websocket");
        let mut map = headers(&[("upgrade", "h2c"), ("http2-settings", "AAMAAABk")]);
        strip_hop(&mut map);
        assert!(map.is_empty(), "also where Connection does not name it: {map:?}");
    }

    #[test]
    fn cookies_of_http_2_become_one_field() {
        let mut map = headers(&[("cookie", "a=1"), ("accept", "*/*"), ("cookie", "b=2; c=3")]);
        join_cookies(&mut map);
        assert_eq!(map.get_all(COOKIE).iter().collect::<Vec<_>>(), ["a=1; b=2; c=3"]);
    }

    #[test]
    fn an_encoding_overrules_the_length_beside_it() {
        let mut map = headers(&[("content-length", "1000"), ("transfer-encoding", "chunked")]);
        strip_answer(&mut map);
        assert!(map.is_empty());
        let mut map = headers(&[("content-length", "1000")]);
        strip_answer(&mut map);
        assert_eq!(map["content-length"], "1000");
    }

    #[test]
    fn a_stranger_cannot_say_who_asks() {
        let claims = [
            ("host", "shop.example"),
            ("x-forwarded-for", "10.0.0.1"),
            ("x-forwarded-proto", "https"),
            ("forwarded", "for=10.0.0.1"),
            ("x-real-ip", "10.0.0.1"),
            ("x-forwarded-prefix", "//elsewhere.example"),
            ("x-forwarded-ssl", "on"),
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
