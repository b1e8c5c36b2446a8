//! What a connection is served on, below HTTP/1.

use bytes::Bytes;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;

use crate::prelude::Prefixed;

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
