//! A Kafka cluster of one broker, started by the script that `make kafka` uses, on ports of its own.

use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewPartitions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer};
use rdkafka::producer::{BaseProducer, BaseRecord, Producer};

/// A cold start takes about six seconds; on a busy machine.
const ANSWER_LIMIT: Duration = Duration::from_mins(2);
const REPLY_LIMIT: Duration = Duration::from_secs(1);
/// For one operation on a broker that answers.
const LIMIT: Duration = Duration::from_secs(20);
/// Below the ports that outgoing connections get.
const PORTS: std::ops::Range<u16> = 20_000..30_000;

pub(crate) struct Broker {
    pub(crate) address: String,
    log: PathBuf,
    child: Child,
}

impl Broker {
    /// Starts one in this folder; it dies with the thread that started it.
    pub(crate) fn launch(dir: &Path) -> Self {
        let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../scripts/kafka/cluster");
        let log = dir.join("broker.log");
        let file = std::fs::File::create(&log).expect("the broker's log");
        let (port, controller_port) = (free_port(), free_port());
        let child = Command::new("setpriv")
            .args(["--pdeathsig", "KILL"])
            .arg(script)
            .args(["run", "--dir", &dir.join("broker").display().to_string()])
            .args(["--port", &port.to_string(), "--controller-port", &controller_port.to_string()])
            .stdin(Stdio::null())
            .stdout(file.try_clone().expect("the same log"))
            .stderr(file)
            .spawn()
            .expect("the script can be started");
        Self { address: format!("127.0.0.1:{port}"), log, child }
    }

    pub(crate) fn answered(&mut self) {
        let client: BaseConsumer = self.config().create().expect("a client");
        let start = Instant::now();
        // Connections are taken before the broker counts as alive.
        while !client.fetch_metadata(None, REPLY_LIMIT).is_ok_and(|metadata| !metadata.brokers().is_empty()) {
            let ended = self.child.try_wait().expect("a child");
            let log = || std::fs::read_to_string(&self.log).unwrap_or_default();
            assert!(ended.is_none(), "the broker ended: {}", log());
            assert!(start.elapsed() < ANSWER_LIMIT, "the broker does not answer: {}", log());
        }
    }

    pub(crate) fn create_topic(&self, name: &str, partitions: i32) {
        let admin: AdminClient<DefaultClientContext> = self.config().create().expect("a client");
        let topic = NewTopic::new(name, partitions, TopicReplication::Fixed(1));
        let options = AdminOptions::new().operation_timeout(Some(LIMIT));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let created = runtime.block_on(admin.create_topics([&topic], &options)).expect("an answer");
        assert!(created.iter().all(Result::is_ok), "{created:?}");
    }

    /// Adds partitions until there are so many, and waits until the broker names them.
    pub(crate) fn grow_topic(&self, name: &str, partitions: i32) {
        let admin: AdminClient<DefaultClientContext> = self.config().create().expect("a client");
        let grown = NewPartitions::new(name, partitions as usize);
        let options = AdminOptions::new().operation_timeout(Some(LIMIT));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let grown = runtime.block_on(admin.create_partitions([&grown], &options)).expect("an answer");
        assert!(grown.iter().all(Result::is_ok), "{grown:?}");
        let client: BaseConsumer = self.config().create().expect("a client");
        let named = || client.fetch_metadata(Some(name), LIMIT).expect("an answer").topics()[0].partitions().len();
        let start = Instant::now();
        while named() < partitions as usize {
            assert!(start.elapsed() < ANSWER_LIMIT, "{name} does not grow");
        }
    }

    /// A producer in whose transactions records can be made and left.
    pub(crate) fn producer(&self) -> Transactions {
        let mut config = self.config();
        let producer: BaseProducer = config.set("transactional.id", "test").create().expect("a producer");
        producer.init_transactions(LIMIT).expect("a coordinator");
        Transactions(producer)
    }

    /// Offsets in use, whatever became of their records.
    pub(crate) fn end(&self, topic: &str, partition: i32) -> i64 {
        let client: BaseConsumer = self.config().set("isolation.level", "read_uncommitted").create().expect("a client");
        client.fetch_watermarks(topic, partition, LIMIT).expect("an answer").1
    }

    fn config(&self) -> ClientConfig {
        let mut config = ClientConfig::new();
        config.set("bootstrap.servers", &self.address).set("reconnect.backoff.max.ms", "200");
        config
    }
}

impl Drop for Broker {
    fn drop(&mut self) {
        // Nothing of it is needed any more, and both fail only where it is gone.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

pub(crate) struct Transactions(BaseProducer);

impl Transactions {
    /// Begins a transaction and writes these values, line `n` to partition `n` modulo `partitions`.
    pub(crate) fn write<'a>(&self, topic: &str, partitions: i32, lines: impl IntoIterator<Item = &'a String>) {
        self.write_each(topic, lines.into_iter().zip((0..partitions).cycle()));
    }

    /// The same, each to the partition beside it.
    pub(crate) fn write_each<'a>(&self, topic: &str, lines: impl IntoIterator<Item = (&'a String, i32)>) {
        self.0.begin_transaction().expect("begins");
        for (line, partition) in lines {
            let record = BaseRecord::<(), String>::to(topic).payload(line).partition(partition);
            self.0.send(record).expect("room in the queue");
        }
        // Those of an abort, too, have to be in the topic.
        self.0.flush(LIMIT).expect("written");
        assert_eq!(self.0.in_flight_count(), 0);
    }

    pub(crate) fn commit(&self) {
        self.0.commit_transaction(LIMIT).expect("committed");
    }

    pub(crate) fn abort(&self) {
        self.0.abort_transaction(LIMIT).expect("aborted");
    }
}

pub(crate) fn free_port() -> u16 {
    loop {
        let port = PORTS.start + (getrandom::u32().expect("random") % u32::from(PORTS.end - PORTS.start)) as u16;
        if TcpListener::bind((Ipv4Addr::LOCALHOST, port)).is_ok() {
            return port;
        }
    }
}
