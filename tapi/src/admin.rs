//! What `tapi` says of itself on its admin port.

use std::net::SocketAddr;
use std::sync::Arc;

use prometheus_client::registry::Registry;
use service::{Admin, Section};

use crate::forward::{Cluster, Remote};
use crate::metrics::{ForwardMetrics, Metrics, forward};

/// The admin side of a `tapi` process.
pub struct TapiAdmin {
    metrics: Arc<Metrics>,
    registry: Registry,
    about: Section,
    drain: Option<Remote>,
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
        Self { metrics, registry, about, drain: None }
    }

    /// The same for a process that also drains.
    #[must_use]
    pub fn with_drain(mut self, drain: Remote) -> Self {
        self.registry.register_collector(Box::new(ForwardMetrics(drain.clone())));
        self.drain = Some(drain);
        self
    }
}

impl Admin for TapiAdmin {
    fn metrics(&self) -> String {
        service::metrics::text(&self.registry)
    }

    fn not_ready(&self) -> Vec<String> {
        let drain = self.drain.as_ref().map(|drain| drain.snapshot().not_ready());
        self.metrics.not_ready().into_iter().chain(drain.into_iter().flatten()).collect()
    }

    fn title(&self) -> String {
        "tapi".into()
    }

    fn status(&self) -> Vec<Section> {
        let drain = self.drain.as_ref().map(|drain| forward::section(&drain.snapshot()));
        std::iter::once(self.about.clone()).chain(self.metrics.sections()).chain(drain).collect()
    }

    fn post(&self, path: &str, query: &str) -> Option<Result<String, String>> {
        let drain = self.drain.as_ref()?;
        match path {
            "/kafka/pin" => Some(match query.strip_prefix("cluster=").and_then(Cluster::parse) {
                Some(cluster) => drain.pin(Some(cluster)),
                None => Err("say which: /kafka/pin?cluster=primary or /kafka/pin?cluster=secondary".into()),
            }),
            "/kafka/release" => Some(drain.pin(None)),
            _ => None,
        }
    }
}
