//! A request's body on its way to the app: what was read while it waited, then the rest, as it comes.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::cell::Cell;
use std::collections::VecDeque;
use std::future::Future;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::{Duration, Instant};
use tokio::sync::Notify;

/// An app that ignores `Expect: 100-continue` gets the body after so long, as RFC 9110 wants it.
const EXPECT: Duration = Duration::from_secs(1);

/// Why a body ends before its end.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Broken {
    /// The client left, or sent what is no HTTP.
    #[error("the client's body broke off: {0}")]
    Client(#[source] hyper::Error),
    /// It is larger than allowed.
    #[error("the body is larger than this proxy takes")]
    TooLarge,
}

/// What its sender can still see of a body that was handed to a connection.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    last: Cell<Option<Instant>>,
    broke: Cell<bool>,
    too_large: Cell<bool>,
    ended: Cell<bool>,
}

impl Progress {
    /// When the last piece was handed on.
    pub(crate) fn last(&self) -> Option<Instant> {
        self.last.get()
    }

    /// Whether the client broke it off.
    pub(crate) fn broke(&self) -> bool {
        self.broke.get()
    }

    pub(crate) fn too_large(&self) -> bool {
        self.too_large.get()
    }

    /// Whether all of it was handed on.
    pub(crate) fn ended(&self) -> bool {
        self.ended.get()
    }
}

/// The body.
#[derive(Debug)]
pub(crate) struct Upload {
    read: VecDeque<Frame<Bytes>>,
    rest: Option<Incoming>,
    limit: u64,
    progress: Rc<Progress>,
    permission: Option<Permission>,
}

impl Upload {
    /// The body of a request; more than `limit` bytes break it off.
    pub(crate) fn new(body: Incoming, limit: Option<u64>) -> Self {
        let rest = Some(body).filter(|b| !b.is_end_stream());
        let progress = Rc::new(Progress::default());
        progress.ended.set(rest.is_none());
        Self { read: VecDeque::new(), rest, limit: limit.unwrap_or(u64::MAX), progress, permission: None }
    }

    /// No body; for a request that is sent again.
    pub(crate) fn none() -> Self {
        Self { read: VecDeque::new(), rest: None, limit: 0, progress: Rc::default(), permission: None }
    }

    pub(crate) fn progress(&self) -> Rc<Progress> {
        Rc::clone(&self.progress)
    }

    /// Waits for the app's word (100 Continue) before it reads the client's body.
    pub(crate) fn wait_for_permission(&mut self) -> Arc<Notify> {
        let granted = Arc::new(Notify::new());
        let given = Arc::clone(&granted);
        self.permission = Some(Permission(Box::pin(async move {
            drop(tokio::time::timeout(EXPECT, given.notified()).await);
        })));
        granted
    }

    /// Reads one piece ahead; its size, or nothing at the end.
    pub(crate) async fn read_ahead(&mut self) -> Result<Option<u64>, Broken> {
        let frame = std::future::poll_fn(|cx| self.poll_rest(cx)).await;
        let Some(frame) = frame.transpose()? else { return Ok(None) };
        let size = frame.data_ref().map_or(0, Bytes::len) as u64;
        self.read.push_back(frame);
        Ok(Some(size))
    }

    fn poll_rest(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let Some(rest) = &mut self.rest else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(rest).poll_frame(cx));
        Poll::Ready(match frame {
            None => {
                self.rest = None;
                None
            }
            Some(Err(e)) => {
                self.progress.broke.set(true);
                Some(Err(Broken::Client(e)))
            }
            Some(Ok(frame)) => Some(self.within_limit(frame)),
        })
    }

    fn within_limit(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, Broken> {
        let size = frame.data_ref().map_or(0, Bytes::len) as u64;
        match self.limit.checked_sub(size) {
            Some(rest) => self.limit = rest,
            None => {
                self.progress.too_large.set(true);
                return Err(Broken::TooLarge);
            }
        }
        if self.rest.as_ref().is_some_and(Body::is_end_stream) {
            self.rest = None;
        }
        Ok(frame)
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        if let Some(permission) = &mut self.permission {
            ready!(permission.0.as_mut().poll(cx));
            self.permission = None;
        }
        let frame = match self.read.pop_front() {
            Some(frame) => Some(Ok(frame)),
            None => ready!(self.poll_rest(cx)),
        };
        self.progress.last.set(Some(Instant::now()));
        self.progress.ended.set(self.is_end_stream());
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.read.is_empty() && self.rest.is_none()
    }

    fn size_hint(&self) -> SizeHint {
        let read: u64 = self.read.iter().map(|f| f.data_ref().map_or(0, Bytes::len) as u64).sum();
        let rest = self.rest.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
        let mut hint = SizeHint::new();
        hint.set_lower(read + rest.lower());
        if let Some(upper) = rest.upper() {
            hint.set_upper(read + upper);
        }
        hint
    }
}

struct Permission(Pin<Box<dyn Future<Output = ()>>>);

impl std::fmt::Debug for Permission {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Permission")
    }
}
