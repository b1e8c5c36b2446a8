//! The listening sockets of a process, by what they are for, wherever they came from: bound by itself, handed in by
//! systemd ([`crate::listen_fds`]), or taken over from the process before it ([`crate::handover`]).

use std::io;
use std::net::TcpListener;

/// What a listener is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Role {
    /// The work of the process.
    Work,
    /// The admin port.
    Admin,
}

/// Listeners that a process has before it opens anything else.
#[derive(Debug, Default)]
pub struct Listeners {
    /// Those for its work, one for each thread.
    pub work: Vec<TcpListener>,
    /// That of the admin port, where there is one.
    pub admin: Option<TcpListener>,
}

impl Listeners {
    /// The same sockets once more: what waits in their queues is there as long as one of both is open.
    ///
    /// # Errors
    /// Where the process may have no more files open.
    pub fn try_clone(&self) -> io::Result<Self> {
        let work = self.work.iter().map(TcpListener::try_clone).collect::<io::Result<_>>()?;
        Ok(Self { work, admin: self.admin.as_ref().map(TcpListener::try_clone).transpose()? })
    }

    /// How many there are.
    pub(crate) fn len(&self) -> usize {
        self.work.len() + usize::from(self.admin.is_some())
    }

    pub(crate) fn put(&mut self, role: Role, listener: TcpListener) {
        match role {
            Role::Work => self.work.push(listener),
            Role::Admin => self.admin = Some(listener),
        }
    }

    pub(crate) fn iter(&self) -> impl Iterator<Item = (Role, &TcpListener)> {
        let work = self.work.iter().map(|listener| (Role::Work, listener));
        work.chain(self.admin.iter().map(|listener| (Role::Admin, listener)))
    }
}
