//! What `tapi` says of itself on its admin port.

use std::net::SocketAddr;
use std::sync::Arc;

use ingest::Metrics;
use prometheus_client::registry::Registry;
use service::{Admin, Section};

use crate::forward::{Cluster, Remote};
use crate::metrics::{ForwardMetrics, section};

/// The admin side of a `tapi` process.
pub(crate) struct TapiAdmin {
    metrics: Arc<Metrics>,
    registry: Registry,
    about: Section,
    drain: Remote,
}

impl TapiAdmin {
    /// For a process that listens there; `open` where no sources are configured.
    pub(crate) fn new(metrics: Arc<Metrics>, drain: Remote, listen: SocketAddr, open: bool) -> Self {
        let mut registry = service::metrics::registry();
        registry.register_collector(Box::new(Arc::clone(&metrics)));
        registry.register_collector(Box::new(ForwardMetrics(drain.clone())));
        Self { metrics, registry, about: ingest::about(listen, open), drain }
    }
}

impl Admin for TapiAdmin {
    fn metrics(&self) -> String {
        service::metrics::text(&self.registry)
    }

    fn not_ready(&self) -> Vec<String> {
        self.metrics.not_ready().into_iter().chain(self.drain.snapshot().not_ready()).collect()
    }

    fn title(&self) -> String {
        "tapi".into()
    }

    fn status(&self) -> Vec<Section> {
        let drain = std::iter::once(section(&self.drain.snapshot()));
        std::iter::once(self.about.clone()).chain(self.metrics.sections()).chain(drain).collect()
    }

    fn post(&self, path: &str, query: &str) -> Option<Result<String, String>> {
        match path {
            "/kafka/pin" => Some(match query.strip_prefix("cluster=").and_then(Cluster::parse) {
                Some(cluster) => self.drain.pin(Some(cluster)),
                None => Err("say which: /kafka/pin?cluster=primary or /kafka/pin?cluster=secondary".into()),
            }),
            "/kafka/release" => Some(self.drain.pin(None)),
            _ => None,
        }
    }
}
