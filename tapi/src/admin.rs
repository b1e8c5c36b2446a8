//! What `tapi` says of itself on its admin port.

use std::net::SocketAddr;
use std::sync::Arc;

use prometheus_client::registry::Registry;
use service::{Admin, Section};

use crate::metrics::Metrics;

/// The admin side of a `tapi` process.
pub struct TapiAdmin {
    metrics: Arc<Metrics>,
    registry: Registry,
    about: Section,
}

impl TapiAdmin {
    /// For a process that listens there; `open` where no sources are configured.
    pub fn new(metrics: Arc<Metrics>, listen: SocketAddr, open: bool) -> Self {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Arc::clone(&metrics)));
        let sources = if open { "none configured: any write key is accepted" } else { "configured" };
        let about = Section::new("process")
            .row("version", env!("CARGO_PKG_VERSION"))
            .row("listens on", listen.to_string())
            .row("sources", sources);
        Self { metrics, registry, about }
    }
}

impl Admin for TapiAdmin {
    fn metrics(&self) -> String {
        service::metrics::text(&self.registry)
    }

    fn not_ready(&self) -> Vec<String> {
        self.metrics.not_ready()
    }

    fn title(&self) -> String {
        "tapi".into()
    }

    fn status(&self) -> Vec<Section> {
        std::iter::once(self.about.clone()).chain(self.metrics.sections()).collect()
    }
}
