//! The two directions of a connection: what comes goes through the gate, and phases are noted on the way.

use std::cell::RefCell;
use std::io;
use std::pin::Pin;
use std::rc::Rc;
use std::task::{Context, Poll, ready};

use bytes::Bytes;
use hyper::rt::{Read, ReadBufCursor, Write};
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};

use super::entry::{Entry, Phase};
use super::gate::Gate;
use super::stream::Accepted;

/// Bytes that are read and thrown away after a refusal, so that the connection is not reset before the client has read
/// its answer: the largest body that an SDK has been seen to send, several times.
const LINGER_BYTES_MAX: usize = 8 << 20;

/// The room that every connection of a thread reads into.
pub(crate) struct Inlet(RefCell<Box<[u8]>>);

impl Inlet {
    /// For reads of at most so many bytes.
    pub(crate) fn new(bytes: usize) -> Self {
        Self(RefCell::new(vec![0; bytes].into()))
    }
}

/// The socket, or what stands for it.
pub(super) struct Io<T> {
    stream: T,
    /// What was read of it before.
    read: Bytes,
    gate: Gate,
    inlet: Rc<Inlet>,
    entry: Rc<Entry>,
    shut: bool,
    thrown_away: usize,
}

impl<T> Io<T> {
    pub(super) fn new(accepted: Accepted<T>, gate: Gate, inlet: Rc<Inlet>, entry: Rc<Entry>) -> Self {
        let Accepted { stream, read } = accepted;
        Self { stream, read, gate, inlet, entry, shut: false, thrown_away: 0 }
    }

    /// The stream, and what was read of it and not passed on.
    pub(super) fn into_parts(self) -> (T, Vec<u8>) {
        let unread = [self.gate.waiting(), &self.read].concat();
        (self.stream, unread)
    }
}

impl<T: AsyncRead + Unpin> Read for Io<T> {
    fn poll_read(self: Pin<&mut Self>, context: &mut Context<'_>, mut out: ReadBufCursor<'_>) -> Poll<io::Result<()>> {
        let Self { stream, read: before, gate, inlet, entry, .. } = self.get_mut();
        loop {
            if gate.pass(out.remaining(), |bytes| out.put_slice(bytes)) {
                return Poll::Ready(Ok(()));
            }
            if let Some(reject) = entry.take_cut() {
                gate.cut(reject);
                gate.take_refusal().inspect(|refusal| entry.set_refusal(*refusal));
                continue;
            }
            if gate.is_shut() {
                // Nothing is left of the stream for the library.
                return Poll::Ready(Ok(()));
            }
            let mut inlet = inlet.0.borrow_mut();
            let room = inlet.len().min(out.remaining());
            let mut read = ReadBuf::new(&mut inlet[..room]);
            if before.is_empty() {
                ready!(Pin::new(&mut *stream).poll_read(context, &mut read))?;
            } else {
                read.put_slice(&before.split_to(before.len().min(room)));
            }
            let bytes = read.filled();
            if bytes.is_empty() {
                return Poll::Ready(Ok(()));
            }
            let admitted = gate.take(bytes);
            gate.take_refusal().inspect(|refusal| entry.set_refusal(*refusal));
            entry.received(bytes.len(), gate.has_begun_head());
            if admitted > 0 {
                out.put_slice(&bytes[..admitted]);
                return Poll::Ready(Ok(()));
            }
        }
    }
}

impl<T: AsyncRead + AsyncWrite + Unpin> Write for Io<T> {
    fn poll_write(mut self: Pin<&mut Self>, context: &mut Context<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        self.entry.unwritten.set(true);
        let written = Pin::new(&mut self.stream).poll_write(context, bytes);
        match (&written, self.entry.phase.get()) {
            (Poll::Pending, Phase::Idle) => self.entry.enter(Phase::Answer),
            (Poll::Ready(_), Phase::Answer) => self.entry.answered(),
            _ => {}
        }
        written
    }

    fn poll_flush(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        // hyper flushes when it has written all it has.
        ready!(Pin::new(&mut self.stream).poll_flush(context))?;
        self.entry.unwritten.set(false);
        Poll::Ready(Ok(()))
    }

    /// Closing a socket that has unread bytes resets it, and the client may lose the answer that it was sent. So after a
    /// refusal in the middle of a body only this side is closed, and the client's bytes are read until it closes its own.
    fn poll_shutdown(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        let Self { stream, inlet, entry, shut, thrown_away, .. } = self.get_mut();
        if !*shut {
            ready!(Pin::new(&mut *stream).poll_shutdown(context))?;
            *shut = true;
            entry.enter(Phase::Linger);
        }
        if !entry.lingers() {
            return Poll::Ready(Ok(()));
        }
        let mut inlet = inlet.0.borrow_mut();
        while *thrown_away < LINGER_BYTES_MAX {
            let mut buffer = ReadBuf::new(&mut inlet);
            ready!(Pin::new(&mut *stream).poll_read(context, &mut buffer))?;
            if buffer.filled().is_empty() {
                break;
            }
            *thrown_away += buffer.filled().len();
        }
        Poll::Ready(Ok(()))
    }
}
