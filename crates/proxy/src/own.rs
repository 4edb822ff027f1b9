//! Answers of our own: each says so, and why, in the header `Everup-Error`, so that nobody takes it for the app's.

use crate::download::Answer;
use crate::meter::Outcome;
use bytes::Bytes;
use everup_core::gate::machine::{Refusal, Why};
use http::header::{CONTENT_TYPE, HeaderName, HeaderValue, RETRY_AFTER};
use http::{HeaderMap, Response, StatusCode};

/// The header.
pub(crate) static EVERUP_ERROR: HeaderName = HeaderName::from_static("everup-error");

const FULL: &str = "queue-full";
const TOO_LONG: &str = "waited-too-long";
const NO_INSTANCE: &str = "no-instance";

/// What went wrong, in a word and in a sentence.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Fault {
    /// Never sent: nobody takes connections.
    Unreachable,
    /// Sent, and the connection ended without a byte of an answer.
    Unknown,
    /// What came was no HTTP, or broke off in the head.
    BadAnswer,
    /// Nothing came in time.
    TimedOut,
    /// The drain's deadline came first.
    Drained,
    /// The body is larger than allowed.
    TooLarge,
    /// A method that makes no sense here.
    NotAProxy,
}

impl Fault {
    const ALL: [Self; 7] = [
        Self::Unreachable,
        Self::Unknown,
        Self::BadAnswer,
        Self::TimedOut,
        Self::Drained,
        Self::TooLarge,
        Self::NotAProxy,
    ];

    /// What it is counted as. What is wrong with the request is no failure of ours.
    pub(crate) const fn outcome(self) -> Outcome {
        match self {
            Self::Unknown | Self::TimedOut | Self::Drained => Outcome::Unknown,
            Self::Unreachable | Self::BadAnswer => Outcome::Failed,
            Self::TooLarge | Self::NotAProxy => Outcome::Answered,
        }
    }

    const fn says(self) -> (StatusCode, &'static str, &'static str) {
        match self {
            Self::Unreachable => (
                StatusCode::BAD_GATEWAY,
                "unreachable",
                "no instance takes connections; the request was not sent",
            ),
            Self::Unknown => (
                StatusCode::BAD_GATEWAY,
                "outcome-unknown",
                "the app closed the connection without an answer; it may have acted on the request",
            ),
            Self::BadAnswer => {
                (StatusCode::BAD_GATEWAY, "bad-answer", "the app's answer could not be understood")
            }
            Self::TimedOut => {
                (StatusCode::GATEWAY_TIMEOUT, "timed-out", "the app did not begin its answer in time")
            }
            Self::Drained => (
                StatusCode::BAD_GATEWAY,
                "drained",
                "the app had to be stopped before it answered; it may have acted on the request",
            ),
            Self::TooLarge => (StatusCode::PAYLOAD_TOO_LARGE, "too-large", "the body is larger than allowed"),
            Self::NotAProxy => (StatusCode::NOT_IMPLEMENTED, "no-tunnels", "CONNECT is not served here"),
        }
    }
}

/// The answer for `fault`.
pub(crate) fn fault(fault: Fault) -> Response<Answer> {
    let (status, reason, sentence) = fault.says();
    ours(status, reason, sentence)
}

/// 503, with when to come again.
pub(crate) fn refused(refusal: Refusal) -> Response<Answer> {
    let (reason, sentence) = match refusal.reason {
        Why::Full => (FULL, "as many requests wait as may"),
        Why::TooLong => (TOO_LONG, "no instance could take the request in time"),
        Why::NoSlot => (NO_INSTANCE, "there is no instance"),
    };
    let mut response = ours(StatusCode::SERVICE_UNAVAILABLE, reason, sentence);
    let seconds = refusal.retry_after.0.div_ceil(1_000).max(1);
    response.headers_mut().insert(RETRY_AFTER, HeaderValue::from(seconds));
    response
}

/// Whether a proxy of ours says by `response` that it sent the request to nobody, and somebody else may take it at
/// once. Not said of one that has waited there for as long as it may, or that a full queue refused: elsewhere it would
/// only wait again.
pub(crate) fn says_unsent<B>(response: &Response<B>) -> bool {
    let words = [Fault::Unreachable.says().1, NO_INSTANCE];
    response.headers().get(&EVERUP_ERROR).is_some_and(|word| words.iter().any(|unsent| word == unsent))
}

/// What an answer that a proxy of ours made itself means for whoever asked; nothing if it is the app's.
pub(crate) fn meaning(headers: &HeaderMap) -> Option<Outcome> {
    let word = headers.get(&EVERUP_ERROR)?;
    let fault = Fault::ALL.into_iter().find(|fault| word == fault.says().1);
    let refused = [FULL, TOO_LONG, NO_INSTANCE].iter().any(|reason| word == reason);
    fault.map(Fault::outcome).or_else(|| refused.then_some(Outcome::Refused))
}

/// The health of the proxy itself.
pub(crate) fn healthy() -> Response<Answer> {
    text(StatusCode::OK, Bytes::from_static(b"ok\n"))
}

/// The health of what is behind it, as far as it knows.
pub(crate) fn well(is: bool) -> Response<Answer> {
    if is { healthy() } else { ours(StatusCode::SERVICE_UNAVAILABLE, "ill", "no app here is well") }
}

fn ours(status: StatusCode, reason: &'static str, sentence: &str) -> Response<Answer> {
    let mut response = text(status, Bytes::from(format!("{status}: {sentence}\n")));
    response.headers_mut().insert(&EVERUP_ERROR, HeaderValue::from_static(reason));
    response
}

fn text(status: StatusCode, body: Bytes) -> Response<Answer> {
    let mut response = Response::new(Answer::own(body));
    *response.status_mut() = status;
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("text/plain; charset=utf-8"));
    response
}
