//! The settings that can change while the server runs.

use crate::client_ip::Proxies;
use crate::config::Config;
use crate::limit::Limiter;
use crate::sources::Sources;

/// What SIGHUP reads again. Each thread holds the newest and looks at nothing shared to use it.
#[derive(Debug)]
pub(crate) struct Live {
    pub(crate) sources: Sources,
    pub(crate) limiter: Option<Limiter>,
    pub(crate) proxies: Proxies,
}

impl Live {
    pub(crate) fn new(config: &Config) -> Self {
        let sources = config.sources();
        let limiter = Limiter::new(config.limits.requests_per_source_per_second, &sources);
        let proxies = Proxies::new(&config.client_ip_header, &config.trusted_proxies);
        Self { sources, limiter, proxies }
    }
}
