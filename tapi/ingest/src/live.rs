//! The settings that can change while the server runs.

use std::sync::Arc;

use service::Failure;
use tokio::sync::watch;
use tokio_rustls::rustls::ServerConfig;

use crate::client_ip::{Proxies, Senders};
use crate::config::Config;
use crate::events::Unreadable;
use crate::policy::Policies;
use crate::sources::Sources;

/// Both ends of what changes: one for [`reload`], one for [`serve`](crate::serve()).
pub(crate) type Channel = (watch::Sender<Arc<Live>>, watch::Receiver<Arc<Live>>);

/// What [`reload`] changes. Each thread holds the newest and looks at nothing shared to use it.
#[derive(Debug)]
pub struct Live {
    pub(crate) sources: Sources,
    pub(crate) policies: Policies,
    pub(crate) proxies: Proxies,
    /// Empty where SDKs are sent to where they asked.
    pub(crate) public_url: String,
    pub(crate) unreadable: Unreadable,
    pub(crate) senders: Senders,
    pub(crate) tls: Option<Arc<ServerConfig>>,
}

impl Live {
    /// What can change of these settings: one end for [`reload`], and one for [`serve`](crate::serve()). They must have no
    /// [`Config::problems`].
    ///
    /// # Errors
    /// Where the certificate or its key cannot be read.
    pub fn channel(config: &Config) -> Result<Channel, Failure> {
        Ok(watch::channel(Arc::new(Self::new(config, None)?)))
    }

    fn new(config: &Config, before: Option<&Self>) -> Result<Self, Failure> {
        let tls = config.tls.load().map_err(|fault| Failure::usage(format!("{}: {}", fault.key, fault.message)))?;
        Ok(Self {
            sources: config.sources(),
            policies: Policies::new(config, before.map(|before| &before.policies)),
            proxies: Proxies::new(&config.client_ip_header, &config.trusted_proxies),
            public_url: config.public_url.clone(),
            unreadable: config.unreadable_events,
            senders: Senders::new(&config.proxy_protocol_from),
            tls,
        })
    }
}

/// What a process does at SIGHUP with the settings that it `read` again: sources, tiers, trusted proxies and the public
/// address are used from the next request on, certificates and senders of PROXY headers from the next connection on; the
/// rest stays as it was, and so does what sources have used up of their limits. Wrong ones change nothing, and are logged.
pub fn reload(live: &watch::Sender<Arc<Live>>, read: Result<Config, Failure>) {
    let before = Arc::clone(&live.borrow());
    match read.and_then(|config| Live::new(&config, Some(&before))) {
        Ok(new) => {
            live.send_replace(Arc::new(new));
            tracing::info!("sources, tiers, trusted proxies, the public address and certificates read again");
        }
        Err(failure) => tracing::error!(%failure, "the settings were not read again; the old ones stay in force"),
    }
}
