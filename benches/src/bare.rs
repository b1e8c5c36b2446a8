//! The floor of everything that takes requests: hyper, keep-alive, the body read, a constant answer; plain or over TLS.

use std::convert::Infallible;
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::sync::{Arc, mpsc};
use std::thread;

use bytes::Bytes;
use http_body_util::{BodyExt as _, Full};
use hyper::body::Incoming;
use hyper::header::{CONTENT_TYPE, HeaderValue};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Builder;
use tokio::task::{LocalSet, spawn_local};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::ServerConfig;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};

/// Serves on a thread of its own, on a free port, for as long as the process lives.
///
/// # Panics
/// Where there is no free port or no thread.
pub fn start() -> SocketAddr {
    accept(|| spawn_http)
}

/// The same over TLS, with this certificate and key.
///
/// # Panics
/// As [`start`], and where they are none.
pub fn start_tls(certificate: &Path, key: &Path) -> SocketAddr {
    let chain = CertificateDer::pem_file_iter(certificate).and_then(Iterator::collect::<Result<Vec<_>, _>>);
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("the provider has them").with_no_client_auth();
    let key = PrivateKeyDer::from_pem_file(key).expect("a key");
    let config = builder.with_single_cert(chain.expect("a certificate"), key).expect("the key is its key");
    let acceptor = TlsAcceptor::from(Arc::new(config));
    accept(move || {
        move |stream| {
            let handshake = acceptor.accept(stream);
            spawn_local(async move { handshake.await.map(spawn_http) });
        }
    })
}

/// Listens on a thread of its own, as [`start`], and gives each connection to what `begin` makes there. Both run in the
/// local set of that thread's runtime.
///
/// # Panics
/// As [`start`].
pub fn accept<F: Fn(TcpStream)>(begin: impl FnOnce() -> F + Send + 'static) -> SocketAddr {
    let (said, address) = mpsc::channel();
    thread::spawn(move || {
        let runtime = Builder::new_current_thread().enable_io().build().expect("a runtime");
        runtime.block_on(LocalSet::new().run_until(async {
            let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a free port");
            said.send(listener.local_addr().expect("a bound socket")).expect("somebody waits");
            let serve = begin();
            loop {
                let Ok((stream, _)) = listener.accept().await else { continue };
                stream.set_nodelay(true).expect("a TCP socket");
                serve(stream);
            }
        }));
    });
    address.recv().expect("it listens")
}

fn spawn_http(stream: impl AsyncRead + AsyncWrite + Unpin + 'static) {
    spawn_local(http1::Builder::new().serve_connection(TokioIo::new(stream), service_fn(answer)));
}

async fn answer(request: Request<Incoming>) -> Result<Response<Full<Bytes>>, Infallible> {
    let mut body = request.into_body();
    while let Some(Ok(_)) = body.frame().await {}
    Ok(success())
}

/// What a stored event is answered with.
pub fn success() -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from_static(br#"{"success":true}"#)));
    response.headers_mut().insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
    response
}
