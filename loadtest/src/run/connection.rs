//! One keep-alive HTTP/1.1 connection with one request at a time, made new whenever it broke.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::response::{self, HEAD_BYTES_MAX, Head};
use crate::retry::Attempt;

pub(super) struct Connection {
    target: SocketAddr,
    timeout: Duration,
    stream: Option<TcpStream>,
    answer: Box<[u8]>,
}

impl Connection {
    /// Connects with the first request. `timeout` bounds connecting, and then sending and being answered.
    pub(super) fn new(target: SocketAddr, timeout: Duration) -> Self {
        Self { target, timeout, stream: None, answer: vec![0; HEAD_BYTES_MAX * 2].into() }
    }

    /// Sends a whole request and waits for the whole answer.
    pub(super) async fn send(&mut self, request: &[u8]) -> Attempt {
        let usable = self.stream.take().filter(is_quiet);
        let mut stream = match usable {
            Some(stream) => stream,
            None => match timeout(self.timeout, connect(self.target)).await {
                Ok(Ok(stream)) => stream,
                Ok(Err(_)) | Err(_) => return Attempt::NotSent,
            },
        };
        match timeout(self.timeout, exchange(&mut stream, request, &mut self.answer)).await {
            Err(_) => Attempt::TimedOut,
            Ok(Err(_)) => Attempt::Broken,
            Ok(Ok(head)) => {
                if !head.closes {
                    self.stream = Some(stream);
                }
                Attempt::Answered { status: head.status, retry_after: head.retry_after }
            }
        }
    }
}

async fn connect(target: SocketAddr) -> io::Result<TcpStream> {
    let stream = TcpStream::connect(target).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Whether an idle connection is still open as far as is known: an answer nobody asked for, or the end, ends its use.
/// Costs no system call unless something has arrived.
fn is_quiet(stream: &TcpStream) -> bool {
    matches!(stream.try_read(&mut [0]), Err(error) if error.kind() == io::ErrorKind::WouldBlock)
}

async fn exchange(stream: &mut TcpStream, request: &[u8], answer: &mut [u8]) -> io::Result<Head> {
    // A server may refuse a large body before it has read it; then writing fails, and the answer can still be read.
    let written = stream.write_all(request).await;
    let mut filled = 0;
    let mut head = loop {
        let read = stream.read(&mut answer[filled..]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += read;
        match response::parse(&answer[..filled]) {
            Ok(Some(head)) => break head,
            Ok(None) => {}
            Err(response::Garbled) => return Err(io::ErrorKind::InvalidData.into()),
        }
    };
    while filled < head.total_bytes {
        let wanted = (head.total_bytes - filled).min(answer.len());
        let read = stream.read(&mut answer[..wanted]).await?;
        if read == 0 {
            return Err(io::ErrorKind::UnexpectedEof.into());
        }
        filled += read;
    }
    head.closes |= written.is_err() || filled > head.total_bytes;
    Ok(head)
}
