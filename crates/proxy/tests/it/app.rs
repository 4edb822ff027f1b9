//! Apps for the proxy to stand before.

use bytes::Bytes;
use http_body_util::{BodyExt, Full, StreamBody, combinators::BoxBody};
use hyper::body::{Frame, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use std::cell::{Cell, RefCell};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::rc::Rc;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

/// What an app answers with.
pub(crate) type Body = BoxBody<Bytes, Infallible>;

/// A running app; its connections and its socket go with it.
pub(crate) struct App {
    pub(crate) address: SocketAddr,
    pub(crate) connections: Rc<Cell<u32>>,
    tasks: Rc<RefCell<Vec<AbortHandle>>>,
}

impl App {
    /// An app on hyper.
    pub(crate) async fn start<F, A>(answer: F) -> Self
    where
        F: Fn(Request<Incoming>) -> A + 'static,
        A: Future<Output = Response<Body>> + 'static,
    {
        let answer = Rc::new(answer);
        Self::raw(move |stream| {
            let answer = Rc::clone(&answer);
            async move {
                let service = service_fn(move |request| {
                    let answer = answer(request);
                    async move { Ok::<_, Infallible>(answer.await) }
                });
                let io = TokioIo::new(stream);
                let _ = http1::Builder::new().serve_connection(io, service).with_upgrades().await;
            }
        })
        .await
    }

    /// An app that does as it likes with each connection.
    pub(crate) async fn raw<F, A>(serve: F) -> Self
    where
        F: Fn(TcpStream) -> A + 'static,
        A: Future<Output = ()> + 'static,
    {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Rc::new(Cell::new(0));
        let tasks = Rc::new(RefCell::new(Vec::new()));
        let (count, all) = (Rc::clone(&connections), Rc::clone(&tasks));
        let accept = tokio::task::spawn_local(async move {
            loop {
                let (stream, _) = listener.accept().await.unwrap();
                count.set(count.get() + 1);
                let task = tokio::task::spawn_local(serve(stream));
                all.borrow_mut().push(task.abort_handle());
            }
        });
        tasks.borrow_mut().push(accept.abort_handle());
        Self { address, connections, tasks }
    }

    /// An app that answers each request without a body with these bytes.
    pub(crate) async fn saying(answer: &'static [u8]) -> Self {
        Self::raw(move |mut stream| async move {
            let mut seen = Vec::new();
            while stream.read_buf(&mut seen).await.is_ok_and(|n| n > 0) {
                if seen.ends_with(b"\r\n\r\n") {
                    seen.clear();
                    stream.write_all(answer).await.unwrap();
                }
            }
        })
        .await
    }

    /// An app that answers with its name.
    pub(crate) async fn named(name: &'static str) -> Self {
        Self::start(move |request| async move {
            // Whole requests only: an upload is read to its end.
            let _ = request.into_body().collect().await;
            text(name)
        })
        .await
    }

    /// As a kill -9: connections break off, nobody listens any more.
    pub(crate) async fn kill(&self) {
        self.tasks.borrow_mut().drain(..).for_each(|task| task.abort());
        // Aborted tasks are dropped when they would have run next.
        tokio::task::yield_now().await;
        while TcpStream::connect(self.address).await.is_ok() {
            tokio::task::yield_now().await;
        }
    }
}

impl Drop for App {
    fn drop(&mut self) {
        self.tasks.borrow_mut().drain(..).for_each(|task| task.abort());
    }
}

pub(crate) fn text(text: impl Into<Bytes>) -> Response<Body> {
    Response::new(Full::new(text.into()).boxed())
}

/// A body that is sent piece by piece; it ends when the sender goes.
pub(crate) fn stream() -> (mpsc::UnboundedSender<&'static str>, Body) {
    let (sender, mut receiver) = mpsc::unbounded_channel::<&'static str>();
    let pieces = futures_util::stream::poll_fn(move |cx| {
        receiver.poll_recv(cx).map(|p| p.map(|p| Ok(Frame::data(Bytes::from_static(p.as_bytes())))))
    });
    (sender, BodyExt::boxed(StreamBody::new(Sync(pieces))))
}

/// Boxed bodies must be `Sync`; this one is used on one thread.
struct Sync<S>(S);

impl<S: futures_util::Stream + Unpin> futures_util::Stream for Sync<S> {
    type Item = S::Item;
    fn poll_next(
        mut self: std::pin::Pin<&mut Self>,
        cx: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<S::Item>> {
        std::pin::Pin::new(&mut self.0).poll_next(cx)
    }
}
