//! Why the server did not start.

use std::io;
use std::net::SocketAddr;

/// Why the server did not start. Nothing of it is left running.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The address cannot be listened on; says what to do.
    #[error("{source}")]
    Listen {
        /// The address.
        listen: SocketAddr,
        /// What the system said and what to do.
        source: io::Error,
    },
    /// The system refuses a thread or a poller.
    #[error("cannot start the server's threads: {0}")]
    Threads(#[from] io::Error),
}
