//! What comes before the first request of a connection: the PROXY header of a load balancer, and TLS.

use std::io;
use std::net::IpAddr;
use std::pin::Pin;
use std::rc::Rc;
use std::sync::Arc;
use std::task::{Context as Task, Poll};

use bytes::{Buf as _, Bytes, BytesMut};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::server::TlsStream;

use crate::connection::{Entry, Phase};
use crate::live::Live;
use crate::proxy_protocol::{self, Header};
use crate::refusal::Refusal;
use crate::tls;

/// The first byte of TLS: a handshake record.
const HANDSHAKE: u8 = 0x16;
/// What plain HTTP gets where only TLS is spoken; some clients show it, and the next person need not search.
const PLAIN_HTTP: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: application/json\r\nconnection: close\r\n\
    content-length: 119\r\n\r\n\
    {\"success\":false,\"code\":\"plain_http\",\"message\":\"This port speaks https alone.\",\"error\":\"This port speaks https alone.\"}";
/// Bytes that are read and thrown away after that, so that it is not lost by a reset.
const SINK_BYTES_MAX: usize = 64 * 1024;

/// A connection that is ready for requests.
pub(crate) enum Begun {
    /// HTTP/1.1 without TLS, and what was read of it.
    Plain(TcpStream, Bytes),
    /// HTTP/1.1 above TLS.
    Tls(Box<TlsStream<Prefixed>>),
    /// HTTP/2 above TLS.
    Http2(Box<TlsStream<Prefixed>>),
    /// None: its client has all the connections that it may have.
    Full,
}

/// Whether a connection from there begins with a PROXY header, which names the client.
pub(crate) fn names_client(live: &Live, peer: IpAddr) -> bool {
    live.senders.trusts(peer.to_canonical())
}

/// Whether anything comes before the first request of this connection.
pub(crate) fn is_needed(live: &Live, entry: &Entry) -> bool {
    live.tls.is_some() || names_client(live, entry.peer)
}

/// Reads what comes before the first request, within the time that a head has. `enter` says whether there is a place for
/// one more connection of this client.
pub(crate) async fn begin(
    live: Arc<Live>,
    entry: &Rc<Entry>,
    mut stream: TcpStream,
    enter: impl FnOnce(IpAddr) -> bool,
) -> Result<Begun, Refusal> {
    let begun = async {
        let mut read = BytesMut::new();
        if names_client(&live, entry.peer)
            && let Some(client) = proxy_header(&mut stream, &mut read).await?
        {
            entry.client.set(client);
        }
        if !enter(entry.client.get()) {
            return Ok(Begun::Full);
        }
        match &live.tls {
            None => Ok(Begun::Plain(stream, read.freeze())),
            Some(config) => handshake(Arc::clone(config), entry, stream, read).await,
        }
    };
    let begun = entry.unless_closed(begun).await.unwrap_or(Err(Refusal::Timeout));
    // The first request has a time of its own.
    entry.enter(Phase::Fresh);
    begun
}

/// The client's address, where the proxy knows it. What comes behind the header stays in `read`.
async fn proxy_header(stream: &mut TcpStream, read: &mut BytesMut) -> Result<Option<IpAddr>, Refusal> {
    loop {
        match proxy_protocol::parse(read) {
            Header::Of { client, bytes } => {
                read.advance(bytes);
                return Ok(client);
            }
            Header::Wrong => return Err(Refusal::ProxyHeader),
            Header::Incomplete => {
                read.reserve(proxy_protocol::BYTES_MAX);
                if !matches!(stream.read_buf(read).await, Ok(1..)) {
                    return Err(Refusal::ProxyHeader);
                }
            }
        }
    }
}

async fn handshake(
    config: Arc<ServerConfig>,
    entry: &Rc<Entry>,
    mut stream: TcpStream,
    mut read: BytesMut,
) -> Result<Begun, Refusal> {
    if read.is_empty() && !matches!(stream.read_buf(&mut read).await, Ok(1..)) {
        return Err(Refusal::TlsHandshake);
    }
    if read[0] != HANDSHAKE {
        let is_http = read[0].is_ascii_uppercase();
        if is_http {
            entry.enter(Phase::Linger);
            let _ = say_plain_http(&mut stream).await;
        }
        return Err(if is_http { Refusal::PlainHttp } else { Refusal::TlsHandshake });
    }
    let stream = Prefixed { read: read.freeze(), stream };
    let stream = TlsAcceptor::from(config).accept(stream).await.map_err(|_| Refusal::TlsHandshake)?;
    let is_http2 = stream.get_ref().1.alpn_protocol() == Some(tls::H2);
    Ok(if is_http2 { Begun::Http2(Box::new(stream)) } else { Begun::Tls(Box::new(stream)) })
}

async fn say_plain_http(stream: &mut TcpStream) -> io::Result<()> {
    stream.write_all(PLAIN_HTTP).await?;
    stream.shutdown().await?;
    let (mut sink, mut bytes) = ([0; 1024], 0);
    while bytes < SINK_BYTES_MAX {
        match stream.read(&mut sink).await? {
            0 => break,
            count => bytes += count,
        }
    }
    Ok(())
}

/// A connection of which something was read before.
#[derive(Debug)]
pub(crate) struct Prefixed {
    read: Bytes,
    stream: TcpStream,
}

impl AsyncRead for Prefixed {
    fn poll_read(mut self: Pin<&mut Self>, task: &mut Task<'_>, buffer: &mut ReadBuf<'_>) -> Poll<io::Result<()>> {
        if self.read.is_empty() {
            return Pin::new(&mut self.stream).poll_read(task, buffer);
        }
        let bytes = self.read.len().min(buffer.remaining());
        buffer.put_slice(&self.read.split_to(bytes));
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Prefixed {
    fn poll_write(mut self: Pin<&mut Self>, task: &mut Task<'_>, bytes: &[u8]) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(task, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(task)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, task: &mut Task<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(task)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_answer_to_plain_http_is_as_long_as_it_says() {
        let text = std::str::from_utf8(PLAIN_HTTP).unwrap();
        let (head, body) = text.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-length: {}", body.len())), "{}", body.len());
        let body: serde_json::Value = serde_json::from_str(body).unwrap();
        assert_eq!(body["code"], "plain_http");
    }
}
