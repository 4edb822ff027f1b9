//! Who is at the other end of a client's connection, in the words of the headers that say so: written once, and not for
//! each request.

use http::HeaderValue;
use std::cell::RefCell;
use std::net::IpAddr;

/// No name is longer (RFC 1035); what is written for another host is not kept.
const LONGEST: usize = 255;

/// A client's address.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) ip: IpAddr,
    text: HeaderValue,
    last: RefCell<Option<Written>>,
}

/// For the host that was asked for last.
#[derive(Debug)]
struct Written {
    host: Option<Box<[u8]>>,
    forwarded: HeaderValue,
}

impl Peer {
    pub(crate) fn new(ip: IpAddr) -> Self {
        let text = HeaderValue::try_from(ip.to_string()).expect("an address is of visible characters");
        Self { ip, text, last: RefCell::default() }
    }

    /// As `X-Forwarded-For` has it.
    pub(crate) fn text(&self) -> HeaderValue {
        self.text.clone()
    }

    /// As `Forwarded` has it, for a request to `host`.
    pub(crate) fn forwarded(&self, host: Option<&HeaderValue>) -> HeaderValue {
        let bytes = host.map(HeaderValue::as_bytes);
        let mut last = self.last.borrow_mut();
        if let Some(written) = &*last
            && written.host.as_deref() == bytes
        {
            return written.forwarded.clone();
        }
        let forwarded = self.write(host);
        if bytes.is_none_or(|host| host.len() <= LONGEST) {
            // A copy: the value itself would keep in memory all that was read with it.
            *last = Some(Written { host: bytes.map(Into::into), forwarded: forwarded.clone() });
        }
        forwarded
    }

    fn write(&self, host: Option<&HeaderValue>) -> HeaderValue {
        let from = match self.ip {
            IpAddr::V4(v4) => v4.to_string(),
            IpAddr::V6(v6) => format!("\"[{v6}]\""),
        };
        // A host that could end the quotes is left out.
        let host = host.and_then(|h| h.to_str().ok()).filter(|h| !h.contains(['"', '\\']));
        let text = match host {
            Some(host) => format!("for={from};host=\"{host}\";proto=http"),
            None => format!("for={from};proto=http"),
        };
        HeaderValue::try_from(text).expect("it was a header's value, and has more visible characters now")
    }
}
