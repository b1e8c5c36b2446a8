//! Two real brokers, started once for all tests, dying with this process.

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::channel;
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};
use std::{fs, thread};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

/// A start of Java on a busy machine.
const ANSWER_LIMIT: Duration = Duration::from_mins(2);
/// Partitions of every topic.
pub(crate) const PARTITIONS: u32 = 4;

pub(crate) struct Broker {
    pub(crate) address: String,
    process: u32,
}

pub(crate) struct Brokers {
    pub(crate) primary: Broker,
    pub(crate) secondary: Broker,
}

/// The brokers, started by whoever comes first.
pub(crate) fn brokers() -> &'static Brokers {
    static BROKERS: OnceLock<Brokers> = OnceLock::new();
    BROKERS.get_or_init(|| {
        let folder = folder();
        // They get SIGKILL when the thread that started them ends, so that thread never does before the process.
        let (send, started) = channel();
        thread::spawn(move || {
            let children = ["primary", "secondary"].map(|name| start(&folder.join(name)));
            send.send(children.each_ref().map(|(address, child)| (address.clone(), child.id()))).unwrap();
            loop {
                thread::park();
            }
        });
        let [primary, secondary] = started.recv().unwrap().map(|(address, process)| Broker { address, process });
        for broker in [&primary, &secondary] {
            broker.wait_for_answer();
        }
        Brokers { primary, secondary }
    })
}

/// A folder of this process's, and an end to those of processes that are gone.
fn folder() -> PathBuf {
    let below = Path::new(env!("CARGO_TARGET_TMPDIR"));
    for entry in fs::read_dir(below).unwrap().flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        if name.strip_prefix("kafka-").is_some_and(|process| !Path::new("/proc").join(process).exists()) {
            let _ = fs::remove_dir_all(entry.path());
        }
    }
    below.join(format!("kafka-{}", std::process::id()))
}

/// One test at a time.
pub(crate) fn turn() -> std::sync::MutexGuard<'static, ()> {
    static TURN: Mutex<()> = Mutex::new(());
    TURN.lock().unwrap_or_else(std::sync::PoisonError::into_inner)
}

fn start(folder: &Path) -> (String, Child) {
    fs::create_dir_all(folder).unwrap();
    let ports = [free_port(), free_port()];
    let log = fs::File::create(folder.join("broker.log")).unwrap();
    let mut command = Command::new(script());
    command.arg("run").arg("--dir").arg(folder);
    command.args(["--port", &ports[0].to_string(), "--controller-port", &ports[1].to_string()]);
    command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
    die_with_parent(&mut command);
    (format!("127.0.0.1:{}", ports[0]), command.spawn().expect("scripts/kafka/cluster"))
}

#[expect(unsafe_code, reason = "only between fork and exec can a child be tied to its parent")]
pub(crate) fn die_with_parent(command: &mut Command) {
    // SAFETY: the closure makes one system call and touches no memory of the parent.
    unsafe {
        command.pre_exec(|| {
            rustix::process::set_parent_process_death_signal(Some(rustix::process::Signal::KILL)).map_err(Into::into)
        });
    }
}

fn script() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap().join("scripts/kafka/cluster")
}

fn free_port() -> u16 {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port()
}

impl Broker {
    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", &self.address).create().unwrap()
    }

    fn wait_for_answer(&self) {
        let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", &self.address).create().unwrap();
        let begun = Instant::now();
        while client.fetch_metadata(None, Duration::from_secs(2)).is_err() {
            assert!(begun.elapsed() < ANSWER_LIMIT, "the broker of {} does not answer", self.address);
        }
    }

    /// Deletes the topics where they are there, and makes them.
    pub(crate) fn make_anew(&self, topics: &[&str]) {
        self.delete(topics);
        self.make(topics, PARTITIONS);
    }

    pub(crate) fn make(&self, topics: &[&str], partitions: u32) {
        let begun = Instant::now();
        let mut missing: Vec<&str> = topics.to_vec();
        // A deleted topic's name is free again only after a moment.
        while !missing.is_empty() {
            assert!(begun.elapsed() < ANSWER_LIMIT, "topics cannot be made: {missing:?}");
            let new: Vec<_> = missing
                .iter()
                .map(|topic| {
                    NewTopic::new(topic, partitions.cast_signed(), TopicReplication::Fixed(1))
                        .set("message.timestamp.type", "LogAppendTime")
                        .set("retention.ms", "-1")
                })
                .collect();
            let results = block(self.admin().create_topics(&new, &AdminOptions::new())).unwrap();
            missing.retain(|topic| !results.iter().any(|result| result.as_ref().is_ok_and(|made| made == topic)));
        }
    }

    pub(crate) fn delete(&self, topics: &[&str]) {
        // One that is not there is fine.
        let _ = block(self.admin().delete_topics(topics, &AdminOptions::new())).unwrap();
    }

    pub(crate) fn add_partitions(&self, topic: &str, count: usize) {
        let new = rdkafka::admin::NewPartitions::new(topic, count);
        let results = block(self.admin().create_partitions(&[new], &AdminOptions::new())).unwrap();
        assert!(results.iter().all(Result::is_ok), "{results:?}");
    }

    /// Deletes every record of a partition.
    pub(crate) fn empty(&self, topic: &str, partition: u32) {
        let mut list = rdkafka::TopicPartitionList::new();
        list.add_partition_offset(topic, partition.cast_signed(), rdkafka::Offset::End).unwrap();
        block(self.admin().delete_records(&list, &AdminOptions::new())).unwrap();
    }

    pub(crate) fn freeze(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    pub(crate) fn thaw(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.process.cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}
