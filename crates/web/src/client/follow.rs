//! Reading `/v1/events`: one status after the other, each with a signature of its own.

use super::{Call, Client, Failure};
use crate::signing::{Key, verify_answer, verify_event};
use everup_core::status::Status;
use http_body_util::BodyExt;
use hyper::body::Incoming;
use std::time::Duration;
use tokio::time::{Instant, timeout, timeout_at};

/// Opening the stream takes at most so long.
const OPEN: Duration = Duration::from_secs(5);

/// The server sends something at least every second ([`crate::server::KEEP_ALIVE`]): one that says nothing for so long is
/// stopped, or cut off, and whoever follows it has another to ask.
const SILENCE: Duration = Duration::from_secs(3);

/// The largest event that is read.
const LARGEST_EVENT: usize = 32 << 20;

/// An open stream of events.
pub struct Follow {
    address: String,
    body: Incoming,
    buffer: Vec<u8>,
    nonce: String,
    keys: Vec<Key>,
    index: u64,
    /// When something came last: calls of [`Follow::next`] that are dropped do not begin the wait anew.
    heard: Instant,
}

impl Client {
    /// `GET /v1/events`: the present status, then each change. It ends when the agent is told to end, or when
    /// another coordinator takes over; then call again.
    ///
    /// # Errors
    /// When it does not answer, or refuses.
    pub async fn events(&self) -> Result<Follow, Failure> {
        let call = Call::get("/v1/events".into(), OPEN);
        let sent = match timeout(OPEN, self.send(&call)).await {
            Ok(sent) => sent?,
            Err(_) => {
                return Err(Failure::silent(&self.address, format!("it did not answer within {OPEN:?}")));
            }
        };
        let (parts, body) = sent.answer.into_parts();
        if !parts.status.is_success() {
            // A refusal is a document of its own: ask again in the way that reads one.
            return self
                .call(call)
                .await
                .and_then(|_| Err(Failure::silent(&self.address, "it is no stream")));
        }
        let keys = self.http.0.keyring.keys();
        verify_answer(&parts, None, &sent.nonce, &keys)
            .map_err(|why| Failure::unbelieved(&self.address, parts.status, why))?;
        let (address, keys) = (self.address.clone(), keys.to_vec());
        Ok(Follow {
            address,
            body,
            buffer: Vec::new(),
            nonce: sent.nonce,
            keys,
            index: 0,
            heard: Instant::now(),
        })
    }
}

impl Follow {
    /// The next status; nothing when the agent ended the stream. It may be dropped and called again.
    ///
    /// # Errors
    /// When the stream is cut, falls silent, or holds an event that is not believed.
    pub async fn next(&mut self) -> Result<Option<Status>, Failure> {
        loop {
            while let Some(event) = self.take_event() {
                if let Some(status) = self.read(&event)? {
                    return Ok(Some(status));
                }
            }
            if !self.fill().await? {
                return Ok(None);
            }
        }
    }

    /// Reads more; says whether there was more.
    async fn fill(&mut self) -> Result<bool, Failure> {
        let failed = |problem: String| Failure::silent(&self.address, problem);
        match timeout_at(self.heard + SILENCE, self.body.frame()).await {
            Err(_) => Err(failed(format!("its events fell silent for {SILENCE:?}"))),
            Ok(None) => Ok(false),
            Ok(Some(Err(error))) => Err(failed(format!("its events were cut: {error}"))),
            Ok(Some(Ok(frame))) => {
                self.heard = Instant::now();
                if let Ok(bytes) = frame.into_data() {
                    self.buffer.extend_from_slice(&bytes);
                }
                if self.buffer.len() > LARGEST_EVENT {
                    return Err(failed("an event is too large".into()));
                }
                Ok(true)
            }
        }
    }

    /// The text up to the next empty line.
    fn take_event(&mut self) -> Option<String> {
        let end = self.buffer.windows(2).position(|pair| pair == b"\n\n")?;
        let event: Vec<u8> = self.buffer.drain(..end + 2).collect();
        Some(String::from_utf8_lossy(&event).into_owned())
    }

    /// The status in an event; nothing in a comment.
    fn read(&mut self, event: &str) -> Result<Option<Status>, Failure> {
        let field = |name: &str| event.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(": "));
        let Some(data) = field("data") else { return Ok(None) };
        let signature = field("signature").unwrap_or_default();
        let (nonce, index) = (&self.nonce, self.index);
        if !self.keys.iter().any(|key| verify_event(key, nonce, index, data, signature)) {
            return Err(Failure::unread(&self.address, "the signature of an event does not fit"));
        }
        self.index += 1;
        serde_json::from_str(data)
            .map(Some)
            .map_err(|error| Failure::unread(&self.address, error.to_string()))
    }
}
