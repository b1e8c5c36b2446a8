//! What `turnstile` says of itself on its admin port.

use std::net::SocketAddr;
use std::sync::Arc;

use prometheus_client::registry::Registry;
use service::{Admin, Section};

use crate::figures::Figures;
use crate::metrics::DrainMetrics;

/// The admin side of a `turnstile` process.
pub(crate) struct TurnstileAdmin {
    ingest: Arc<ingest::Metrics>,
    drain: DrainMetrics,
    registry: Registry,
    about: Section,
}

impl TurnstileAdmin {
    /// For a process that listens there; `open` where no sources are configured.
    pub(crate) fn new(ingest: Arc<ingest::Metrics>, figures: &Arc<Figures>, listen: SocketAddr, open: bool) -> Self {
        let mut registry = service::metrics::registry();
        registry.register_collector(Box::new(Arc::clone(&ingest)));
        registry.register_collector(Box::new(DrainMetrics(Arc::clone(figures))));
        Self { ingest, drain: DrainMetrics(Arc::clone(figures)), registry, about: ingest::about(listen, open) }
    }
}

impl Admin for TurnstileAdmin {
    fn metrics(&self) -> String {
        service::metrics::text(&self.registry)
    }

    fn not_ready(&self) -> Vec<String> {
        self.ingest.not_ready().into_iter().chain(self.drain.not_ready()).collect()
    }

    fn title(&self) -> String {
        "turnstile".into()
    }

    fn status(&self) -> Vec<Section> {
        let mut sections = vec![self.about.clone()];
        sections.extend(self.ingest.sections());
        sections.extend(self.drain.sections());
        sections
    }
}
