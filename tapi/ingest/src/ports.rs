//! Where this process listens: on sockets that it was given, or on its own.

use std::net::{SocketAddr, TcpListener};

use service::{AdminServer, Failure, Listeners};

use crate::config::Config;

/// The listeners that this process was started with, by systemd's protocol: a thread of its own takes connections from
/// each as often as the settings say. `None` where it was started with none.
///
/// # Errors
/// As [`service::listen_fds()`].
pub(crate) fn activated(config: &Config) -> Result<Option<Listeners>, Failure> {
    let Some(given) = service::listen_fds().map_err(Failure::failed)? else { return Ok(None) };
    let threads = config.ingest.thread_count();
    let copies = given.work.iter().flat_map(|listener| (0..threads).map(|_| listener.try_clone()));
    let work = copies.collect::<Result<_, _>>().map_err(Failure::failed)?;
    Ok(Some(Listeners { work, admin: given.admin }))
}

/// What is given, and for the rest sockets of this process's own.
///
/// # Errors
/// Where an address cannot be listened on, with what to do.
pub(crate) fn complete(config: &Config, given: Option<Listeners>) -> Result<Listeners, Failure> {
    let Listeners { mut work, admin } = given.unwrap_or_default();
    if work.is_empty() {
        (_, work) = ingest::listen(config.listen, config.ingest.thread_count()).map_err(Failure::failed)?;
    }
    let admin = admin.map_or_else(|| AdminServer::bind(config.admin_listen), Ok).map_err(Failure::failed)?;
    Ok(Listeners { work, admin: Some(admin) })
}

/// Whether what another process listens on is what the settings of this one say.
///
/// # Errors
/// Where it is not, with what to do.
pub(crate) fn check(config: &Config, taken: &Listeners) -> Result<(), Failure> {
    taken.work.iter().try_for_each(|listener| same("listen", config.listen, listener))?;
    taken.admin.iter().try_for_each(|listener| same("admin_listen", config.admin_listen, listener))?;
    if taken.work.is_empty() {
        return Err(Failure::failed("the process that runs gave no listener; restart without --take-over"));
    }
    Ok(())
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
        let config = |listen, admin_listen| Config { listen, admin_listen, ..Config::default() };
        let any = SocketAddr::from(([127, 0, 0, 1], 0));
        check(&config(listen, admin_listen), &taken).unwrap();
        check(&config(any, any), &taken).unwrap();
        let refused = check(&config(admin_listen, any), &taken).unwrap_err().to_string();
        assert!(refused.contains(&format!("has {listen} for listen")), "{refused}");
        let refused = check(&config(any, listen), &taken).unwrap_err().to_string();
        assert!(refused.contains("for admin_listen"), "{refused}");
        assert!(check(&config(SocketAddr::from(([0, 0, 0, 0], 0)), any), &taken).is_err());
        assert!(check(&config(any, any), &Listeners::default()).is_err());
    }
}
