//! What a connection is served on, below HTTP/1: it notes the phases, and how much was written.

use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use super::{Entry, Phase};
use crate::prelude::Prefixed;

/// Bytes that are read and thrown away after a refusal, so that the connection is not reset before the client has read
/// its answer: the largest body that an SDK has been seen to send, several times.
const LINGER_BYTES_MAX: usize = 8 << 20;
/// Bytes thrown away at a time.
const SINK_BYTES: usize = 16 * 1024;

/// What a connection is served on.
pub(crate) trait Stream: AsyncRead + AsyncWrite + Unpin {
    /// Whether the next process can go on with it.
    const PASSES: bool;

    /// The connection, for the next process.
    fn into_tcp(self) -> Option<TcpStream>;
}

impl Stream for TcpStream {
    const PASSES: bool = true;

    fn into_tcp(self) -> Option<TcpStream> {
        Some(self)
    }
}

/// The keys of a session stay with the process that agreed on them.
impl Stream for Box<TlsStream<Prefixed>> {
    const PASSES: bool = false;

    fn into_tcp(self) -> Option<TcpStream> {
        None
    }
}

/// A connection and what was already read of it.
pub(crate) struct Accepted<T = TcpStream> {
    pub(crate) stream: T,
    pub(crate) read: Bytes,
}

/// The socket, noting phases.
pub(super) struct Io<T> {
    pub(super) stream: TokioIo<T>,
    /// What was read before.
    pub(super) read: Bytes,
    entry: Rc<Entry>,
    shut: bool,
    thrown_away: usize,
}

impl<T> Io<T> {
    pub(super) fn new(accepted: Accepted<T>, entry: &Rc<Entry>) -> Self {
        let Accepted { stream, read } = accepted;
        Self { stream: TokioIo::new(stream), read, entry: Rc::clone(entry), shut: false, thrown_away: 0 }
    }
}

impl<T: Stream> Read for Io<T> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        mut buffer: ReadBufCursor<'_>,
    ) -> Poll<io::Result<()>> {
        let read = if self.read.is_empty() {
            Pin::new(&mut self.stream).poll_read(context, buffer)
        } else {
            let bytes = self.read.len().min(buffer.remaining());
            buffer.put_slice(&self.read.split_to(bytes));
            Poll::Ready(Ok(()))
        };
        if read.is_ready() && matches!(self.entry.phase.get(), Phase::Fresh | Phase::Idle) {
            self.entry.enter(Phase::Head);
        }
        read
    }
}

impl<T: Stream> Write for Io<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.entry.unwritten.set(true);
        Pin::new(&mut self.stream).poll_write(context, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes when it has written all it has.
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.entry.unwritten.set(false);
        Poll::Ready(Ok(()))
    }

    /// Closing a socket that has unread bytes resets it, and the client may lose the answer that it was sent. So after a
    /// refusal in the middle of a body only this side is closed, and the client's bytes are read until it closes its own.
    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        if !self.shut {
            ready!(Pin::new(&mut self.stream).poll_shutdown(context))?;
            self.shut = true;
            self.entry.enter(Phase::Linger);
        }
        if !self.entry.linger.get() {
            return Poll::Ready(Ok(()));
        }
        let mut sink = [0; SINK_BYTES];
        while self.thrown_away < LINGER_BYTES_MAX {
            let mut buffer = ReadBuf::new(&mut sink);
            ready!(Pin::new(self.stream.inner_mut()).poll_read(context, &mut buffer))?;
            if buffer.filled().is_empty() {
                break;
            }
            self.thrown_away += buffer.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}
