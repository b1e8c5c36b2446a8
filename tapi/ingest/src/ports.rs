//! Where this process listens: on sockets that it was given, or on its own.

use std::net::{SocketAddr, TcpListener};

use service::{AdminServer, Failure, Listeners};

use crate::listen::listen;

/// Where the settings want a program to listen.
#[derive(Debug, Clone, Copy)]
pub struct Ports {
    /// The address for events.
    pub listen: SocketAddr,
    /// That of the admin port.
    pub admin_listen: SocketAddr,
    /// Threads that take connections.
    pub threads: usize,
}

impl Ports {
    /// The listeners that this process was started with, by systemd's protocol: a thread of its own takes connections from
    /// each as often as the settings say. `None` where it was started with none.
    ///
    /// # Errors
    /// As [`service::listen_fds()`].
    pub fn activated(&self) -> Result<Option<Listeners>, Failure> {
        let Some(given) = service::listen_fds().map_err(Failure::failed)? else { return Ok(None) };
        let copies = given.work.iter().flat_map(|listener| (0..self.threads).map(|_| listener.try_clone()));
        let work = copies.collect::<Result<_, _>>().map_err(Failure::failed)?;
        Ok(Some(Listeners { work, admin: given.admin }))
    }

    /// What is given, and for the rest sockets of this process's own.
    ///
    /// # Errors
    /// Where an address cannot be listened on, with what to do.
    pub fn complete(&self, given: Option<Listeners>) -> Result<Listeners, Failure> {
        let Listeners { mut work, admin } = given.unwrap_or_default();
        if work.is_empty() {
            (_, work) = listen(self.listen, self.threads).map_err(Failure::failed)?;
        }
        let admin = admin.map_or_else(|| AdminServer::bind(self.admin_listen), Ok).map_err(Failure::failed)?;
        Ok(Listeners { work, admin: Some(admin) })
    }

    /// Whether what another process listens on is what the settings of this one say.
    ///
    /// # Errors
    /// Where it is not, with what to do.
    pub fn check(&self, taken: &Listeners) -> Result<(), Failure> {
        taken.work.iter().try_for_each(|listener| same("listen", self.listen, listener))?;
        taken.admin.iter().try_for_each(|listener| same("admin_listen", self.admin_listen, listener))?;
        if taken.work.is_empty() {
            return Err(Failure::failed("the process that runs gave no listener; restart without --take-over"));
        }
        Ok(())
    }
}

/// With port 0 any port is as good.
fn same(key: &str, wanted: SocketAddr, listener: &TcpListener) -> Result<(), Failure> {
    let is = listener.local_addr().map_err(Failure::failed)?;
    if wanted.ip() == is.ip() && [0, is.port()].contains(&wanted.port()) {
        return Ok(());
    }
    Err(Failure::usage(format!(
        "the process that runs has {is} for {key}, not {wanted}: stop it, then start without --take-over"
    )))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_listeners_of_the_same_address_are_taken_over() {
        let bound = |port| TcpListener::bind(("127.0.0.1", port)).unwrap();
        let taken = Listeners { work: vec![bound(0)], admin: Some(bound(0)) };
        let address = |of: &TcpListener| of.local_addr().unwrap();
        let (listen, admin_listen) = (address(&taken.work[0]), address(taken.admin.as_ref().unwrap()));
        let ports = |listen, admin_listen| Ports { listen, admin_listen, threads: 1 };
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        ports(listen, admin_listen).check(&taken).unwrap();
        ports(any, any).check(&taken).unwrap();
        let refused = ports(admin_listen, any).check(&taken).unwrap_err().to_string();
        assert!(refused.contains(&format!("has {listen} for listen")), "{refused}");
        let refused = ports(any, listen).check(&taken).unwrap_err().to_string();
        assert!(refused.contains("for admin_listen"), "{refused}");
        assert!(ports(SocketAddr::from(([0, 0, 0, 0], 0)), any).check(&taken).is_err());
        assert!(ports(any, any).check(&Listeners::default()).is_err());
    }
}
