//! A TCP connection that knows how many bytes came in: whether anything of an answer did decides who may send a
//! request again.

use bytes::{Buf, Bytes};
use hyper_util::rt::TokioIo;
use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;

/// Bytes that came and went so far.
#[derive(Debug, Default)]
pub(crate) struct Traffic {
    read: AtomicU64,
    written: AtomicU64,
}

impl Traffic {
    pub(crate) fn read(&self) -> u64 {
        self.read.load(Relaxed)
    }

    pub(crate) fn written(&self) -> u64 {
        self.written.load(Relaxed)
    }
}

/// One thread counts; the atomic is for hyper, which wants what it carries to be `Send`.
fn count(counter: &AtomicU64, bytes: usize) {
    counter.store(counter.load(Relaxed) + bytes as u64, Relaxed);
}

/// Pieces of no more than this in all are copied together: `send` of one costs less than `writev` of two.
const SMALL: usize = 2_048;

/// The connection.
#[derive(Debug)]
pub(crate) struct Counted {
    stream: TcpStream,
    /// Read already, to see which protocol it is.
    head: Bytes,
    traffic: Arc<Traffic>,
}

/// What every HTTP/2 client says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

impl Counted {
    pub(crate) fn new(stream: TcpStream) -> Self {
        Self { stream, head: Bytes::new(), traffic: Arc::default() }
    }

    pub(crate) fn traffic(&self) -> Arc<Traffic> {
        Arc::clone(&self.traffic)
    }

    /// For hyper.
    pub(crate) fn hyper(self) -> TokioIo<Self> {
        TokioIo::new(self)
    }

    /// Whether the client speaks HTTP/2; what had to be read for that is read again by whoever comes next.
    pub(crate) async fn speaks_http2(&mut self) -> io::Result<bool> {
        let mut head = Vec::with_capacity(PREFACE.len());
        while head.len() < PREFACE.len() && PREFACE.starts_with(&head) {
            let rest = (PREFACE.len() - head.len()) as u64;
            if (&mut self.stream).take(rest).read_buf(&mut head).await? == 0 {
                break;
            }
        }
        self.head = head.into();
        Ok(self.head == PREFACE)
    }
}

impl AsyncRead for Counted {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.head.has_remaining() {
            let n = self.head.len().min(buf.remaining());
            buf.put_slice(&self.head.split_to(n));
            return Poll::Ready(Ok(()));
        }
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.stream).poll_read(cx, buf))?;
        count(&self.traffic.read, buf.filled().len() - before);
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Counted {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        let n = ready!(Pin::new(&mut self.stream).poll_write(cx, buf))?;
        count(&self.traffic.written, n);
        Poll::Ready(Ok(n))
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[io::IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        if let [one] = bufs {
            return self.poll_write(cx, one);
        }
        if bufs.iter().map(|buf| buf.len()).sum::<usize>() <= SMALL {
            let mut together = [0; SMALL];
            let mut n = 0;
            for buf in bufs {
                together[n..n + buf.len()].copy_from_slice(buf);
                n += buf.len();
            }
            return self.poll_write(cx, &together[..n]);
        }
        let n = ready!(Pin::new(&mut self.stream).poll_write_vectored(cx, bufs))?;
        count(&self.traffic.written, n);
        Poll::Ready(Ok(n))
    }

    fn is_write_vectored(&self) -> bool {
        true
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
