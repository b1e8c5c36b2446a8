//! The port, shared by as many listeners as there are threads to serve it.

use std::io;
use std::net::{IpAddr, Ipv6Addr, SocketAddr, TcpListener};

use service::admin::bind_error;
use socket2::{Domain, Protocol, Socket, Type};

/// Connections that wait to be accepted, for each thread: a restart of many clients comes all at once.
const BACKLOG: i32 = 4096;

/// Takes the port with `count` listeners, at least one, between which the kernel spreads the connections
/// (`SO_REUSEPORT`). Also where they listen: the port that was chosen where 0 was asked for.
///
/// # Errors
/// Where the address cannot be listened on, with what to do; also where another process has the port, even one that
/// would share it.
pub fn listen(address: SocketAddr, count: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    bind_all(address, count).map_err(|error| bind_error("listen", address, &error))
}

fn bind_all(address: SocketAddr, count: usize) -> io::Result<(SocketAddr, Vec<TcpListener>)> {
    // Listeners that share a port cannot tell another process that shares it too, so the first try is not to share.
    if address.port() != 0 {
        bind(address, false)?;
    }
    let first = bind(address, true)?;
    let local_addr = first.local_addr()?;
    let others = (1..count).map(|_| bind(local_addr, true));
    let listeners = std::iter::once(Ok(first)).chain(others).collect::<io::Result<_>>()?;
    Ok((local_addr, listeners))
}

fn bind(address: SocketAddr, shared: bool) -> io::Result<TcpListener> {
    let is_every_address = address.ip() == IpAddr::V6(Ipv6Addr::UNSPECIFIED);
    let socket = Socket::new(Domain::for_address(address), Type::STREAM.nonblocking(), Some(Protocol::TCP))?;
    if is_every_address {
        // IPv4 as well, whatever the host's default is.
        socket.set_only_v6(false)?;
    }
    // Connections of the last run that still wait for their end do not keep the port.
    socket.set_reuse_address(true)?;
    socket.set_reuse_port(shared)?;
    // Accepted sockets inherit it.
    socket.set_tcp_nodelay(true)?;
    socket.bind(&address.into())?;
    socket.listen(BACKLOG)?;
    Ok(socket.into())
}
