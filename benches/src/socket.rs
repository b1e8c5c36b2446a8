//! One end of a connection that blocks, plain or over TLS.

use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::os::fd::{AsFd, BorrowedFd};
use std::path::Path;
use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject as _;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, ClientConnection, RootCertStore};

/// Whom a client trusts.
pub type Trust = Arc<ClientConfig>;

/// A client's end.
pub struct Socket {
    stream: TcpStream,
    tls: Option<Box<ClientConnection>>,
}

/// Trust in this certificate alone.
///
/// # Panics
/// Where it is none.
pub fn trust(certificate: &Path) -> Trust {
    let mut roots = RootCertStore::empty();
    roots.add(CertificateDer::from_pem_file(certificate).expect("a certificate")).expect("it can be trusted");
    let builder = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().expect("the provider has them");
    Arc::new(builder.with_root_certificates(roots).with_no_client_auth())
}

impl Socket {
    /// Connects, with room in the kernel for `request_bytes`, so that a client with one request in flight never waits
    /// while it writes. With TLS the handshake is made as well, with a server named `localhost`.
    ///
    /// # Panics
    /// Where nobody listens, or is not trusted.
    pub fn connect(address: SocketAddr, request_bytes: usize, trust: Option<&Trust>) -> Self {
        let mut stream = TcpStream::connect(address).expect("the server listens");
        stream.set_nodelay(true).expect("a TCP socket");
        if request_bytes > 16 << 10 {
            rustix::net::sockopt::set_socket_send_buffer_size(&stream, 2 * request_bytes).expect("a socket");
        }
        let tls = trust.map(|trust| {
            let name = ServerName::try_from("localhost").expect("a name");
            let mut tls = ClientConnection::new(Arc::clone(trust), name).expect("a connection");
            while tls.is_handshaking() {
                tls.complete_io(&mut stream).expect("a handshake");
            }
            Box::new(tls)
        });
        Self { stream, tls }
    }

    /// Sends all of it.
    ///
    /// # Panics
    /// Where the other side has closed.
    pub fn send(&mut self, bytes: &[u8]) {
        let Some(tls) = &mut self.tls else {
            return self.stream.write_all(bytes).expect("the server takes requests");
        };
        tls.writer().write_all(bytes).expect("memory");
        while tls.wants_write() {
            tls.write_tls(&mut self.stream).expect("the server takes requests");
        }
    }

    /// Appends what has arrived, of which there must be some: else it blocks. With TLS that may be no byte of an answer.
    ///
    /// # Panics
    /// Where the other side has closed.
    pub fn receive(&mut self, to: &mut Vec<u8>) {
        let mut bytes = [0; 1024];
        let Some(tls) = &mut self.tls else {
            let count = self.stream.read(&mut bytes).expect("the server answers");
            assert!(count > 0, "the server closed a connection");
            to.extend_from_slice(&bytes[..count]);
            return;
        };
        assert!(tls.read_tls(&mut self.stream).expect("the server answers") > 0, "the server closed a connection");
        tls.process_new_packets().expect("TLS");
        loop {
            match tls.reader().read(&mut bytes) {
                Ok(0) => panic!("the server closed a connection"),
                Ok(count) => to.extend_from_slice(&bytes[..count]),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) => panic!("{error}"),
            }
        }
    }
}

impl AsFd for Socket {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.stream.as_fd()
    }
}
