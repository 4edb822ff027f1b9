//! An answer on its way to the client. Its end, however it comes, is the end of the request.

use crate::clients::Busy;
use crate::flight::{Ending, Flight};
use crate::meter::{Outcome, Record};
use crate::pool::{Connection, Pool};
use crate::upload::Progress;
use bytes::Bytes;
use http_body::{Body, Frame, SizeHint};
use hyper::body::Incoming;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

/// Why an answer is cut; the client sees its connection (or stream) end before the answer does.
#[derive(Debug, thiserror::Error)]
pub(crate) enum CutShort {
    /// The app broke it off.
    #[error("the app's answer broke off: {0}")]
    App(#[source] hyper::Error),
    /// The gate had to be shut.
    #[error("the answer was not complete at the drain's deadline")]
    Deadline,
}

/// The body of a response.
#[derive(Debug)]
pub(crate) struct Answer {
    source: Source,
    /// The client's connection is not idle before this is gone.
    busy: Option<Busy>,
}

/// The app's body, or a sentence of ours.
#[derive(Debug)]
enum Source {
    Own(Option<Bytes>),
    /// None, and it is not said that there is none before somebody asks: hyper takes the length off a head whose body
    /// has ended, and a 304 has the length of what the client has already.
    Elsewhere {
        asked: bool,
    },
    App(Box<Download>),
}

impl Answer {
    /// A sentence of ours.
    pub(crate) const fn own(text: Bytes) -> Self {
        Self { source: Source::Own(Some(text)), busy: None }
    }

    /// Nothing.
    pub(crate) const fn none() -> Self {
        Self { source: Source::Own(None), busy: None }
    }

    /// Nothing, under a head that tells the length of what was not sent.
    pub(crate) const fn elsewhere() -> Self {
        Self { source: Source::Elsewhere { asked: false }, busy: None }
    }

    /// What the app sends.
    pub(crate) fn app(download: Download) -> Self {
        Self { source: Source::App(Box::new(download)), busy: None }
    }

    /// Keeps the connection busy.
    pub(crate) fn keep(&mut self, busy: Busy) {
        self.busy = Some(busy);
    }
}

/// What an answer carries until it is complete.
#[derive(Debug)]
pub(crate) struct Carried {
    pub(crate) flight: Flight,
    pub(crate) connection: Connection,
    pub(crate) record: Record,
    pub(crate) pool: Rc<Pool>,
    pub(crate) upload: Rc<Progress>,
    pub(crate) announced: Option<Duration>,
}

impl Carried {
    /// The answer is complete: the connection is kept unless the request is still on its way.
    fn complete(self) {
        let Self { flight, connection, record, pool, upload, announced } = self;
        let now = Instant::now();
        record.finish_at(now, Outcome::Answered);
        if upload.ended() {
            pool.put(connection, announced, now);
        } else {
            // The app has answered without the whole request: what is left of it is of no use to anybody.
            connection.task.abort();
        }
        flight.leaves(now);
    }

    fn at_deadline(self) -> Option<CutShort> {
        self.connection.task.abort();
        if self.flight.is_stream() {
            self.flight.ended(Ending::ByDesign);
            self.record.finish(Outcome::ByDesign);
            return None;
        }
        self.flight.ended(Ending::Cut);
        self.record.finish(Outcome::Failed);
        Some(CutShort::Deadline)
    }
}

/// The app's answer.
#[derive(Debug)]
pub(crate) struct Download {
    body: Incoming,
    carried: Option<Carried>,
}

impl Download {
    pub(crate) fn new(body: Incoming, carried: Carried) -> Self {
        let mut new = Self { body, carried: Some(carried) };
        new.look_for_end();
        new
    }

    /// Whether the answer is complete with its head.
    pub(crate) const fn is_complete(&self) -> bool {
        self.carried.is_none()
    }

    /// hyper asks no more for a body that says it has ended.
    fn look_for_end(&mut self) {
        if self.body.is_end_stream()
            && let Some(carried) = self.carried.take()
        {
            carried.complete();
        }
    }

    fn poll(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        let Some(carried) = &self.carried else { return Poll::Ready(None) };
        if carried.flight.poll_asked(cx).is_ready() {
            return Poll::Ready(self.carried.take().and_then(Carried::at_deadline).map(Err));
        }
        let Poll::Ready(frame) = Pin::new(&mut self.body).poll_frame(cx) else { return Poll::Pending };
        Poll::Ready(match frame {
            // Nothing follows trailers, and hyper does not ask whether something does.
            Some(Ok(frame)) if frame.is_trailers() => {
                self.carried.take().into_iter().for_each(Carried::complete);
                Some(Ok(frame))
            }
            Some(Ok(frame)) => {
                self.look_for_end();
                Some(Ok(frame))
            }
            None => {
                self.carried.take().into_iter().for_each(Carried::complete);
                None
            }
            Some(Err(e)) => {
                self.carried.take().into_iter().for_each(|c| c.record.finish(Outcome::Failed));
                Some(Err(CutShort::App(e)))
            }
        })
    }
}

impl Drop for Download {
    /// The client left, or was made to because it did not read.
    fn drop(&mut self) {
        if let Some(Carried { flight, connection, record, .. }) = self.carried.take() {
            connection.task.abort();
            let not_read = flight.slot().is_none();
            record.finish(if not_read { Outcome::ByDesign } else { Outcome::Left });
        }
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = CutShort;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, CutShort>>> {
        match &mut self.source {
            Source::Own(text) => Poll::Ready(text.take().map(|text| Ok(Frame::data(text)))),
            Source::Elsewhere { asked } => {
                *asked = true;
                Poll::Ready(None)
            }
            Source::App(download) => download.poll(cx),
        }
    }

    fn is_end_stream(&self) -> bool {
        match &self.source {
            Source::Own(text) => text.is_none(),
            Source::Elsewhere { asked } => *asked,
            Source::App(download) => download.carried.is_none(),
        }
    }

    fn size_hint(&self) -> SizeHint {
        match &self.source {
            Source::Own(text) => SizeHint::with_exact(text.as_ref().map_or(0, Bytes::len) as u64),
            Source::Elsewhere { .. } => SizeHint::new(),
            Source::App(download) => download.body.size_hint(),
        }
    }
}
