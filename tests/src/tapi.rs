//! `tapi` in front of two Kafka clusters.

use std::net::SocketAddr;
use std::ops::{Deref, DerefMut};
use std::time::Duration;

use crate::server::Server;
use crate::turnstile::free_address;
use crate::{Kafka, Scene, wait};

/// A backlog drains at tens of thousands of events a second.
const DRAIN_LIMIT: Duration = Duration::from_mins(1);

/// A `tapi`, running or not.
#[derive(Debug)]
pub struct Tapi {
    /// Where SDKs post.
    pub ingest: SocketAddr,
    server: Server,
}

impl Tapi {
    /// In front of these clusters, with its data in the scenario's folder, not started yet.
    pub fn new(scene: &Scene, kafka: &Kafka) -> Self {
        Self::named(scene, kafka, "tapi")
    }

    /// One of several hosts.
    pub fn named(scene: &Scene, kafka: &Kafka, name: &str) -> Self {
        let (ingest, admin) = (free_address(), free_address());
        let ready = format!("tapi ready ingest={ingest} admin={admin}");
        let server = Server::new("tapi", admin, ready, scene.folder().join(format!("{name}.log")));
        Self { ingest, server }
            .set("TAPI_LISTEN", ingest)
            .set("TAPI_ADMIN_LISTEN", admin)
            .set("TAPI_DATA", scene.folder().join(name).display())
            .set("TAPI_KAFKA_PRIMARY", kafka.primary.bootstrap())
            .set("TAPI_KAFKA_SECONDARY", kafka.secondary.bootstrap())
    }

    /// Sets a configuration value, by the name of its environment variable.
    #[must_use]
    pub fn set(mut self, variable: &str, value: impl ToString) -> Self {
        self.server.configure(variable, value);
        self
    }

    /// Waits until everything accepted was acknowledged by a cluster.
    ///
    /// # Panics
    /// When it was not.
    pub fn drained(&self) {
        wait::until("the buffer drains", DRAIN_LIMIT, || {
            (self.metrics().ok()?.sum("local_buffer_backlog_records")? == 0.0).then_some(())
        });
    }
}

impl Deref for Tapi {
    type Target = Server;

    fn deref(&self) -> &Server {
        &self.server
    }
}

impl DerefMut for Tapi {
    fn deref_mut(&mut self) -> &mut Server {
        &mut self.server
    }
}
