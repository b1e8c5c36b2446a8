//! A server on a free port with a buffer in a directory of its own.

use std::sync::Arc;

use ingest::{Config, Metrics, Running, Server};
use local_buffer::{Batch, Queue, Reader};
use prometheus_client::registry::Registry;
use service::{Section, Shutdown};
use tempfile::TempDir;
use wire::envelope::Envelope;

use crate::client::{Answer, Client};

pub(crate) struct Harness {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) shutdown: Shutdown,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) running: Running,
    pub(crate) reader: Reader,
    queue: Option<Queue>,
    batch: Batch,
    _dir: TempDir,
}

/// A record of the buffer.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Stored {
    pub(crate) is_event: bool,
    pub(crate) source: String,
    pub(crate) id: String,
    pub(crate) value: serde_json::Value,
}

/// Settings for a test: two threads, a small buffer.
pub(crate) fn settings() -> Config {
    let mut config = Config { threads: 2, ..Config::default() };
    config.buffer.segment_bytes = 4 << 20;
    config.buffer.bytes_max = 64 << 20;
    config
}

impl Harness {
    pub(crate) fn new() -> Self {
        Self::with(|_| ())
    }

    pub(crate) fn with(change: impl FnOnce(&mut Config)) -> Self {
        let mut config = settings();
        change(&mut config);
        assert_eq!(config.problems(), []);
        let dir = tempfile::tempdir().unwrap();
        let (mut queue, _) = config.buffer.open(dir.path()).unwrap();
        let reader = queue.take_reader().unwrap();
        let metrics = Metrics::new(queue.monitor());
        let listen = ([127, 0, 0, 1], 0).into();
        let server = Server::bind(&config, listen, queue.appender(), Arc::clone(&metrics)).unwrap();
        let address = server.local_addr();
        let shutdown = Shutdown::new();
        let running = server.run(&shutdown).unwrap();
        let batch = Batch::default();
        Self { address, shutdown, metrics, running, reader, queue: Some(queue), batch, _dir: dir }
    }

    pub(crate) fn client(&self) -> Client {
        Client::connect(self.address)
    }

    /// One request on a connection of its own.
    pub(crate) fn ask(&self, line: &str, headers: &str, body: &[u8]) -> Answer {
        self.client().request(line, headers, body)
    }

    /// Everything that was stored since the last call. No waiting: what was answered with 200 is there.
    pub(crate) fn stored(&mut self) -> Vec<Stored> {
        let mut stored = Vec::new();
        while self.reader.read(&mut self.batch, 10_000, 64 << 20).unwrap() > 0 {
            let mut end = None;
            for (id, record) in self.batch.iter() {
                let envelope = Envelope::decode(record).unwrap();
                stored.push(Stored {
                    is_event: envelope.is_event(),
                    source: String::from_utf8(envelope.source().as_bytes().to_vec()).unwrap(),
                    id: envelope
                        .message_id()
                        .map_or(String::new(), |id| String::from_utf8(id.as_bytes().to_vec()).unwrap()),
                    value: serde_json::from_slice(envelope.value()).unwrap(),
                });
                end = Some(id.next());
            }
            self.reader.acknowledge(end.unwrap()).unwrap();
        }
        stored
    }

    pub(crate) fn stored_ids(&mut self) -> Vec<String> {
        self.stored().into_iter().map(|stored| stored.id).collect()
    }

    pub(crate) fn admin(&self) -> Admin {
        Admin { metrics: Arc::clone(&self.metrics), address: self.address }
    }
}

/// The figures as a program shows them.
pub(crate) struct Admin {
    metrics: Arc<Metrics>,
    address: std::net::SocketAddr,
}

impl Admin {
    pub(crate) fn metrics(&self) -> String {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Arc::clone(&self.metrics)));
        service::metrics::text(&registry)
    }

    pub(crate) fn not_ready(&self) -> Vec<String> {
        self.metrics.not_ready()
    }

    pub(crate) fn status(&self) -> Vec<Section> {
        std::iter::once(ingest::about(self.address, true)).chain(self.metrics.sections()).collect()
    }
}

impl Drop for Harness {
    fn drop(&mut self) {
        self.shutdown.trigger();
        let joined = self.running.join();
        let closed = self.queue.take().map(Queue::close);
        if !std::thread::panicking() {
            joined.unwrap();
            closed.unwrap().unwrap();
        }
    }
}
