//! The settings that can change while the server runs.

use std::sync::Arc;

use service::Failure;
use tokio::sync::watch;

use crate::client_ip::Proxies;
use crate::config::Config;
use crate::events::Unreadable;
use crate::limit::Limiter;
use crate::sources::Sources;

/// What [`reload`] changes. Each thread holds the newest and looks at nothing shared to use it.
#[derive(Debug)]
pub struct Live {
    pub(crate) sources: Sources,
    pub(crate) limiter: Option<Limiter>,
    pub(crate) proxies: Proxies,
    pub(crate) unreadable: Unreadable,
}

impl Live {
    /// What can change of these settings: one end for [`reload`], and one for [`serve`](crate::serve()). They must have no
    /// [`Config::problems`].
    pub fn channel(config: &Config) -> (watch::Sender<Arc<Self>>, watch::Receiver<Arc<Self>>) {
        watch::channel(Arc::new(Self::new(config)))
    }

    fn new(config: &Config) -> Self {
        let sources = config.sources();
        let limiter = Limiter::new(config.limits.requests_per_source_per_second, &sources);
        let proxies = Proxies::new(&config.client_ip_header, &config.trusted_proxies);
        Self { sources, limiter, proxies, unreadable: config.unreadable_events }
    }
}

/// What a process does at SIGHUP with the settings that it `read` again: sources, trusted proxies and limits per source are
/// used from the next request on, the rest stays as it was. Wrong ones change nothing, and are logged.
pub fn reload(live: &watch::Sender<Arc<Live>>, read: Result<Config, Failure>) {
    match read {
        Ok(config) => {
            live.send_replace(Arc::new(Live::new(&config)));
            tracing::info!("sources, trusted proxies and limits per source read again");
        }
        Err(failure) => tracing::error!(%failure, "the settings were not read again; the old ones stay in force"),
    }
}
