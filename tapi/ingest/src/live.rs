//! The settings that can change while the server runs.

use std::sync::Arc;

use service::Failure;
use tokio::sync::watch;

use crate::client_ip::Proxies;
use crate::config::Config;
use crate::events::Unreadable;
use crate::policy::Policies;
use crate::sources::Sources;

/// What [`reload`] changes. Each thread holds the newest and looks at nothing shared to use it.
#[derive(Debug)]
pub struct Live {
    pub(crate) sources: Sources,
    pub(crate) policies: Policies,
    pub(crate) proxies: Proxies,
    /// Empty where SDKs are sent to where they asked.
    pub(crate) public_url: String,
    pub(crate) unreadable: Unreadable,
}

impl Live {
    /// What can change of these settings: one end for [`reload`], and one for [`serve`](crate::serve()). They must have no
    /// [`Config::problems`].
    pub fn channel(config: &Config) -> (watch::Sender<Arc<Self>>, watch::Receiver<Arc<Self>>) {
        watch::channel(Arc::new(Self::new(config, None)))
    }

    fn new(config: &Config, before: Option<&Self>) -> Self {
        Self {
            sources: config.sources(),
            policies: Policies::new(config, before.map(|before| &before.policies)),
            proxies: Proxies::new(&config.client_ip_header, &config.trusted_proxies),
            public_url: config.public_url.clone(),
            unreadable: config.unreadable_events,
        }
    }
}

/// What a process does at SIGHUP with the settings that it `read` again: sources, tiers, trusted proxies and the public
/// address are used from the next request on, the rest stays as it was, and so does what sources have used up of their
/// limits. Wrong ones change nothing, and are logged.
pub fn reload(live: &watch::Sender<Arc<Live>>, read: Result<Config, Failure>) {
    match read {
        Ok(config) => {
            let before = Arc::clone(&live.borrow());
            live.send_replace(Arc::new(Live::new(&config, Some(&before))));
            tracing::info!("sources, tiers, trusted proxies and the public address read again");
        }
        Err(failure) => tracing::error!(%failure, "the settings were not read again; the old ones stay in force"),
    }
}
