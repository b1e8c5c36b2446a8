//! A server on a free port with a buffer in a directory of its own.

use std::io;
use std::sync::Arc;
use std::thread::JoinHandle;

use ingest::{Config, Live, Metrics};
use local_buffer::{Batch, Queue, Reader};
use prometheus_client::registry::Registry;
use service::{Section, Shutdown};
use tempfile::TempDir;
use tokio::sync::watch;
use wire::envelope::Envelope;

use crate::client::{Answer, Client};

pub(crate) struct Harness {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) shutdown: Shutdown,
    pub(crate) metrics: Arc<Metrics>,
    pub(crate) live: watch::Sender<Arc<Live>>,
    pub(crate) reader: Reader,
    server: Option<JoinHandle<io::Result<()>>>,
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
        let (address, listeners) = ingest::listen(([127, 0, 0, 1], 0).into(), config.thread_count()).unwrap();
        let (live, followed) = Live::channel(&config).unwrap();
        let shutdown = Shutdown::new();
        let server = std::thread::spawn({
            let (appender, metrics, stop) = (queue.appender(), Arc::clone(&metrics), shutdown.clone());
            move || ingest::serve(listeners, &config.limits, &followed, &appender, &metrics, &stop)
        });
        let (server, queue, batch) = (Some(server), Some(queue), Batch::default());
        Self { address, shutdown, metrics, live, reader, server, queue, batch, _dir: dir }
    }

    /// Waits until it serves no more. A second call finds nothing to wait for.
    pub(crate) fn join(&mut self) -> io::Result<()> {
        self.server.take().map_or(Ok(()), |server| server.join().unwrap())
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

    /// The value of a figure that has no labels, or of one row.
    pub(crate) fn figure(&self, name: &str) -> u64 {
        let metrics = self.admin().metrics();
        let row = metrics.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' '));
        row.map_or(0, |value| value.parse().unwrap())
    }

    /// Waits until a figure is what it is to become. The threads count in their own time.
    #[track_caller]
    pub(crate) fn await_figure(&self, name: &str, is_good: impl Fn(u64) -> bool) {
        let mut tries = 0;
        while !is_good(self.figure(name)) {
            tries += 1;
            assert!(tries < 1_000_000, "{name}: {}", self.figure(name));
            std::thread::yield_now();
        }
    }

    /// Waits until something that the server does in its own time is so.
    #[track_caller]
    pub(crate) fn until(&self, is_so: impl Fn(&Self) -> bool) {
        let end = std::time::Instant::now() + std::time::Duration::from_secs(20);
        while !is_so(self) {
            assert!(std::time::Instant::now() < end, "{}", self.admin().metrics());
            std::thread::yield_now();
        }
    }

    /// The ids of the events among them, what is set aside left out.
    pub(crate) fn event_ids(&mut self) -> Vec<String> {
        self.stored().into_iter().filter(|stored| stored.is_event).map(|stored| stored.id).collect()
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
        let joined = self.join();
        let closed = self.queue.take().map(Queue::close);
        if !std::thread::panicking() {
            joined.unwrap();
            closed.unwrap().unwrap();
        }
    }
}
