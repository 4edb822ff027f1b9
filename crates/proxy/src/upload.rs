//! A request's body on its way to the app: what was read while it waited, then the rest, as it comes.

use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::cell::{Cell, RefCell};
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

/// What its sender can still see, and take back, of a body that was handed to a connection.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    last: Cell<Option<Instant>>,
    broke: Cell<bool>,
    too_large: Cell<bool>,
    ended: Cell<bool>,
    content: RefCell<Content>,
}

/// What is still to be handed on.
#[derive(Debug, Default)]
struct Content {
    read: VecDeque<Frame<Bytes>>,
    rest: Option<Incoming>,
    limit: u64,
    permission: Option<Permission>,
    kept: Option<Kept>,
}

/// What was handed on, as long as it is little.
#[derive(Debug, Default)]
struct Kept {
    frames: VecDeque<Frame<Bytes>>,
    size: usize,
}

/// So much is kept of a body that may have to be sent again; of one that is larger, nothing.
const KEPT: usize = 16 << 10;

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

    /// The whole body again, from its beginning; nothing where too much of it was handed on. The connection that it was
    /// handed to must not ask for more of it.
    pub(crate) fn take_back(&self) -> Option<Upload> {
        let mut content = self.content.take();
        let kept = content.kept.take()?;
        let mut read = kept.frames;
        read.append(&mut content.read);
        Some(Upload::of(Content { read, kept: Some(Kept::default()), ..content }))
    }

    fn poll_rest(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let mut content = self.content.borrow_mut();
        let Some(rest) = &mut content.rest else { return Poll::Ready(None) };
        let frame = ready!(Pin::new(rest).poll_frame(cx));
        Poll::Ready(match frame {
            None => {
                content.rest = None;
                None
            }
            Some(Err(e)) => {
                self.broke.set(true);
                Some(Err(Broken::Client(e)))
            }
            Some(Ok(frame)) => {
                let frame = content.within_limit(frame);
                self.too_large.set(frame.is_err());
                Some(frame)
            }
        })
    }
}

impl Content {
    fn is_empty(&self) -> bool {
        self.read.is_empty() && self.rest.is_none()
    }

    fn within_limit(&mut self, frame: Frame<Bytes>) -> Result<Frame<Bytes>, Broken> {
        self.limit = self.limit.checked_sub(size(&frame) as u64).ok_or(Broken::TooLarge)?;
        // Nothing follows trailers, and hyper does not ask whether something does.
        if frame.is_trailers() || self.rest.as_ref().is_some_and(Body::is_end_stream) {
            self.rest = None;
        }
        Ok(frame)
    }

    fn keep(&mut self, frame: &Frame<Bytes>) {
        let Some(kept) = &mut self.kept else { return };
        kept.size += size(frame);
        if kept.size > KEPT {
            self.kept = None;
        } else {
            kept.frames.extend(copy(frame));
        }
    }
}

fn size(frame: &Frame<Bytes>) -> usize {
    frame.data_ref().map_or(0, Bytes::len)
}

fn copy(frame: &Frame<Bytes>) -> Option<Frame<Bytes>> {
    let data = frame.data_ref().cloned().map(Frame::data);
    data.or_else(|| frame.trailers_ref().cloned().map(Frame::trailers))
}

/// The body.
#[derive(Debug)]
pub(crate) struct Upload(Rc<Progress>);

impl Upload {
    /// The body of a request; more than `limit` bytes break it off.
    pub(crate) fn new(body: Incoming, limit: Option<u64>) -> Self {
        let rest = Some(body).filter(|b| !b.is_end_stream());
        Self::of(Content { rest, limit: limit.unwrap_or(u64::MAX), ..Content::default() })
    }

    /// No body; for a request that is sent again.
    pub(crate) fn none() -> Self {
        Self::of(Content::default())
    }

    fn of(content: Content) -> Self {
        let ended = Cell::new(content.is_empty());
        Self(Rc::new(Progress { ended, content: RefCell::new(content), ..Progress::default() }))
    }

    pub(crate) fn progress(&self) -> Rc<Progress> {
        Rc::clone(&self.0)
    }

    /// From now on what is handed on is kept, as long as it is little, so that [`Progress::take_back`] has it.
    pub(crate) fn keep(&self) {
        self.0.content.borrow_mut().kept.get_or_insert_default();
    }

    /// Waits for the app's word (100 Continue) before it reads the client's body.
    pub(crate) fn wait_for_permission(&self) -> Arc<Notify> {
        let granted = Arc::new(Notify::new());
        let given = Arc::clone(&granted);
        self.0.content.borrow_mut().permission = Some(Permission(Box::pin(async move {
            drop(tokio::time::timeout(EXPECT, given.notified()).await);
        })));
        granted
    }

    /// Reads one piece ahead; its size, or nothing at the end.
    pub(crate) async fn read_ahead(&self) -> Result<Option<u64>, Broken> {
        let frame = std::future::poll_fn(|cx| self.0.poll_rest(cx)).await;
        let Some(frame) = frame.transpose()? else { return Ok(None) };
        let size = size(&frame) as u64;
        self.0.content.borrow_mut().read.push_back(frame);
        Ok(Some(size))
    }

    fn poll(&self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let mut content = self.0.content.borrow_mut();
        if let Some(permission) = &mut content.permission {
            ready!(permission.0.as_mut().poll(cx));
            content.permission = None;
        }
        let read = content.read.pop_front();
        drop(content);
        let frame = match read {
            Some(frame) => Some(Ok(frame)),
            None => ready!(self.0.poll_rest(cx)),
        };
        if let Some(Ok(frame)) = &frame {
            self.0.content.borrow_mut().keep(frame);
        }
        Poll::Ready(frame)
    }
}

impl Body for Upload {
    type Data = Bytes;
    type Error = Broken;

    fn poll_frame(self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Broken>>> {
        let frame = ready!(self.poll(cx));
        self.0.last.set(Some(Instant::now()));
        self.0.ended.set(self.is_end_stream());
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.0.content.borrow().is_empty()
    }

    fn size_hint(&self) -> SizeHint {
        let content = self.0.content.borrow();
        let read: u64 = content.read.iter().map(|frame| size(frame) as u64).sum();
        let rest = content.rest.as_ref().map_or_else(|| SizeHint::with_exact(0), Body::size_hint);
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
