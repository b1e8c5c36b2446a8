//! Socket activation, as systemd does it: listeners that are there before the process, so that a connection made while
//! it restarts waits in the kernel and is not refused.
//!
//! `LISTEN_PID` says whom the sockets are for, `LISTEN_FDS` how many there are, from descriptor 3 on, and
//! `LISTEN_FDNAMES` their names with colons between. The one named `admin` is the admin port, every other one is for the
//! work: `FileDescriptorName=` of the socket unit.

use std::io;
use std::net::TcpListener;
use std::os::fd::{AsFd as _, FromRawFd as _, OwnedFd, RawFd};

use rustix::net::sockopt::{socket_acceptconn, socket_type};

use crate::listeners::{Listeners, Role};

/// The first one that is handed in.
const FIRST: RawFd = 3;
/// More than any unit has.
const COUNT_MAX: usize = 1024;
/// The name of the admin port's.
const ADMIN: &str = "admin";

/// The listeners that this process was started with; `None` where it was started with none. To be called once, where
/// the process begins.
///
/// # Errors
/// Where the variables contradict themselves, or a descriptor is not a listening TCP socket.
pub fn listen_fds() -> io::Result<Option<Listeners>> {
    let roles = roles(crate::config::process_environment(), std::process::id()).map_err(io::Error::other)?;
    if roles.is_empty() {
        return Ok(None);
    }
    let mut listeners = Listeners::default();
    for (fd, role) in (FIRST..).zip(roles) {
        listeners.put(role, adopt(fd)?);
    }
    Ok(Some(listeners))
}

#[expect(unsafe_code, reason = "a descriptor that another process opened comes as a number")]
fn adopt(fd: RawFd) -> io::Result<TcpListener> {
    // SAFETY: the protocol says that this number is open and for this process alone, and it is asked for only once, before
    // the process opens anything. A number that is not open makes the calls below fail.
    let fd = unsafe { OwnedFd::from_raw_fd(fd) };
    let says = |error| io::Error::other(format!("LISTEN_FDS: {fd:?} is not a listening TCP socket: {error}"));
    // They are for no child of this process.
    rustix::io::fcntl_setfd(fd.as_fd(), rustix::io::FdFlags::CLOEXEC).map_err(|error| says(error.into()))?;
    let is_stream = socket_type(&fd)? == rustix::net::SocketType::STREAM;
    if !is_stream || !socket_acceptconn(&fd)? {
        return Err(says(io::Error::from(io::ErrorKind::InvalidInput)));
    }
    let listener = TcpListener::from(fd);
    listener.local_addr().map_err(|error| io::Error::other(format!("LISTEN_FDS: not a TCP socket: {error}")))?;
    listener.set_nonblocking(true)?;
    Ok(listener)
}

/// What each is for, in their order; none where the variables are for another process. Pure.
fn roles(environment: impl IntoIterator<Item = (String, String)>, pid: u32) -> Result<Vec<Role>, String> {
    let (mut for_pid, mut count, mut names) = (None, None, None);
    for (name, value) in environment {
        match &*name {
            "LISTEN_PID" => for_pid = Some(value),
            "LISTEN_FDS" => count = Some(value),
            "LISTEN_FDNAMES" => names = Some(value),
            _ => {}
        }
    }
    let (Some(for_pid), Some(count)) = (for_pid, count) else { return Ok(Vec::new()) };
    if for_pid.parse() != Ok(pid) {
        return Ok(Vec::new());
    }
    let parsed = count.parse::<usize>().ok().filter(|count| *count <= COUNT_MAX);
    let count = parsed.ok_or_else(|| format!("LISTEN_FDS: {count:?} is no number up to {COUNT_MAX}"))?;
    let names: Vec<_> = names.iter().flat_map(|names| names.split(':')).collect();
    let of = |index| if names.get(index) == Some(&ADMIN) { Role::Admin } else { Role::Work };
    let roles: Vec<_> = (0..count).map(of).collect();
    match roles.iter().filter(|role| **role == Role::Admin).count() {
        0 | 1 => Ok(roles),
        more => Err(format!("LISTEN_FDNAMES: {more} sockets are named {ADMIN}, and there is one admin port")),
    }
}

#[cfg(test)]
mod tests {
    use super::Role::{Admin, Work};
    use super::*;

    fn of(variables: &[(&str, &str)]) -> Result<Vec<Role>, String> {
        roles(variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())), 7)
    }

    #[test]
    fn what_is_handed_in_is_told_by_its_name() {
        let named = |count, names| of(&[("LISTEN_PID", "7"), ("LISTEN_FDS", count), ("LISTEN_FDNAMES", names)]);
        assert_eq!(named("3", "events:admin:events").unwrap(), [Work, Admin, Work]);
        assert_eq!(named("2", "tapi.socket").unwrap(), [Work, Work], "fewer names than sockets");
        assert_eq!(named("1", "unknown").unwrap(), [Work]);
        assert_eq!(of(&[("LISTEN_PID", "7"), ("LISTEN_FDS", "2")]).unwrap(), [Work, Work]);
        assert!(named("2", "admin:admin").unwrap_err().contains("LISTEN_FDNAMES"));
    }

    #[test]
    fn what_is_not_for_this_process_is_left_alone() {
        assert_eq!(of(&[]).unwrap(), []);
        assert_eq!(of(&[("LISTEN_FDS", "1")]).unwrap(), []);
        assert_eq!(of(&[("LISTEN_PID", "8"), ("LISTEN_FDS", "1")]).unwrap(), []);
        assert_eq!(of(&[("LISTEN_PID", "7"), ("LISTEN_FDS", "0")]).unwrap(), []);
        for wrong in ["", "x", "-1", "1025"] {
            assert!(of(&[("LISTEN_PID", "7"), ("LISTEN_FDS", wrong)]).unwrap_err().contains("LISTEN_FDS"), "{wrong}");
        }
    }
}
