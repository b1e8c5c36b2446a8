//! Two real brokers, started once for all tests, dying with this process.

use std::net::TcpListener;
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::sync::mpsc::{Sender, channel};
use std::sync::{Mutex, OnceLock};
use std::time::{Duration, Instant};
use std::{fs, thread};

use rdkafka::ClientConfig;
use rdkafka::admin::{AdminClient, AdminOptions, NewTopic, TopicReplication};
use rdkafka::client::DefaultClientContext;
use rdkafka::consumer::{BaseConsumer, Consumer as _};

use wire::topic::{EVENTS, EVENTS_DEDUPED};

use super::proxy::Proxy;

/// A start of Java on a busy machine.
const ANSWER_LIMIT: Duration = Duration::from_mins(2);
/// Lanes, and so partitions of the changelog.
pub(crate) const LANES: u32 = 4;
/// Partitions of the output.
pub(crate) const OUTPUTS: u32 = 8;

pub(crate) struct Broker {
    pub(crate) address: String,
    /// Partitions of `events` as a test finds it.
    pub(crate) inputs: u32,
    process: AtomicU32,
    launch: Launch,
    launcher: Mutex<Sender<(Launch, Sender<u32>)>>,
}

pub(crate) struct Brokers {
    pub(crate) primary: Broker,
    pub(crate) secondary: Broker,
    /// A second way to the primary, which tests can cut.
    pub(crate) proxy: Proxy,
}

/// How a broker is started, the same each time.
#[derive(Clone)]
struct Launch {
    folder: PathBuf,
    port: u16,
    controller_port: u16,
    properties: Vec<String>,
    /// What a broker that is told a wrong time finds.
    environment: Vec<(&'static str, String)>,
}

/// The brokers, started by whoever comes first.
pub(crate) fn brokers() -> &'static Brokers {
    static BROKERS: OnceLock<Brokers> = OnceLock::new();
    BROKERS.get_or_init(|| {
        let folder = folder();
        let (behind_proxy, proxy) = (free_port(), Proxy::new());
        let launcher = launcher();
        let primary = Launch::new(folder.join("primary"), Some((behind_proxy, proxy.port())));
        let secondary = Launch::new(folder.join("secondary"), None);
        let [primary, secondary] =
            [(primary, 8), (secondary, 12)].map(|(launch, inputs)| Broker::start(launch, inputs, &launcher));
        for broker in [&primary, &secondary] {
            broker.wait_for_answer();
        }
        proxy.lead_to(behind_proxy);
        Brokers { primary, secondary, proxy }
    })
}

/// The thread that starts every broker. They get SIGKILL when it ends, so it never does before the process.
fn launcher() -> Sender<(Launch, Sender<u32>)> {
    let (send, wanted) = channel::<(Launch, Sender<u32>)>();
    thread::spawn(move || {
        let mut children: Vec<Child> = Vec::new();
        // The brokers hold the sender and are never dropped, so this never ends.
        for (launch, started) in wanted {
            // Those that were killed are buried, so that nobody takes them for alive.
            children.retain_mut(|child| child.try_wait().unwrap().is_none());
            let child = launch.start();
            started.send(child.id()).unwrap();
            children.push(child);
        }
    });
    send
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

impl Launch {
    /// With a listener for the proxy, which is told that it is reached at the second port.
    fn new(folder: PathBuf, proxied: Option<(u16, u16)>) -> Self {
        let (port, controller_port) = (free_port(), free_port());
        // Workers that are gone are noticed within seconds.
        let mut properties = vec!["group.min.session.timeout.ms=1000".to_owned()];
        if let Some((behind, before)) = proxied {
            let plain = format!("PLAINTEXT://127.0.0.1:{port}");
            properties.extend([
                format!("listeners={plain},PROXIED://127.0.0.1:{behind},CONTROLLER://127.0.0.1:{controller_port}"),
                format!("advertised.listeners={plain},PROXIED://127.0.0.1:{before}"),
                "listener.security.protocol.map=PLAINTEXT:PLAINTEXT,PROXIED:PLAINTEXT,CONTROLLER:PLAINTEXT".to_owned(),
            ]);
        }
        Self { folder, port, controller_port, properties, environment: Vec::new() }
    }

    fn start(&self) -> Child {
        fs::create_dir_all(&self.folder).unwrap();
        let log = fs::File::options().create(true).append(true).open(self.folder.join("broker.log")).unwrap();
        let mut command = Command::new(script());
        command.arg("run").arg("--dir").arg(&self.folder);
        command.args(["--port", &self.port.to_string(), "--controller-port", &self.controller_port.to_string()]);
        for property in &self.properties {
            command.args(["--set", property]);
        }
        command.envs(self.environment.iter().map(|(name, value)| (*name, value)));
        command.stdin(Stdio::null()).stdout(log.try_clone().unwrap()).stderr(log);
        die_with_parent(&mut command);
        command.spawn().expect("scripts/kafka/cluster")
    }
}

impl Broker {
    fn start(launch: Launch, inputs: u32, launcher: &Sender<(Launch, Sender<u32>)>) -> Self {
        let address = format!("127.0.0.1:{}", launch.port);
        let broker =
            Self { address, inputs, process: AtomicU32::new(0), launch, launcher: Mutex::new(launcher.clone()) };
        broker.launch(broker.launch.clone());
        broker
    }

    fn launch(&self, launch: Launch) {
        let (send, started) = channel();
        self.launcher.lock().unwrap().send((launch, send)).unwrap();
        self.process.store(started.recv().unwrap(), Relaxed);
    }

    fn admin(&self) -> AdminClient<DefaultClientContext> {
        ClientConfig::new().set("bootstrap.servers", &self.address).create().unwrap()
    }

    pub(crate) fn wait_for_answer(&self) {
        let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", &self.address).create().unwrap();
        let begun = Instant::now();
        while client.fetch_metadata(None, Duration::from_secs(2)).is_err() {
            assert!(begun.elapsed() < ANSWER_LIMIT, "the broker of {} does not answer", self.address);
        }
    }

    /// Deletes the topics where they are there, and makes them.
    pub(crate) fn make_anew(&self, topics: &[&str]) {
        self.make_anew_with(topics, &[]);
    }

    /// The same, with so many partitions.
    pub(crate) fn make_anew_of(&self, topic: &str, count: u32) {
        self.make(&[topic], &[], |_| count);
    }

    /// The same, with these settings.
    pub(crate) fn make_anew_with(&self, topics: &[&str], settings: &[(&str, &str)]) {
        self.make(topics, settings, |topic| self.count_of(topic));
    }

    fn make(&self, topics: &[&str], settings: &[(&str, &str)], count_of: impl Fn(&str) -> u32) {
        self.delete(topics);
        // What is given goes over these.
        let sound = [("message.timestamp.type", "LogAppendTime"), ("retention.ms", "-1")];
        let kept = sound.iter().filter(|(name, _)| !settings.iter().any(|(other, _)| other == name));
        let settings: Vec<_> = kept.chain(settings).collect();
        let begun = Instant::now();
        let mut missing: Vec<&str> = topics.to_vec();
        // A deleted topic's name is free again only after a moment.
        while !missing.is_empty() {
            assert!(begun.elapsed() < ANSWER_LIMIT, "topics cannot be made: {missing:?}");
            let new: Vec<_> = missing
                .iter()
                .map(|topic| {
                    let count = count_of(topic).cast_signed();
                    let new = NewTopic::new(topic, count, TopicReplication::Fixed(1));
                    settings.iter().fold(new, |new, (name, value)| new.set(name, value))
                })
                .collect();
            let results = block(self.admin().create_topics(&new, &AdminOptions::new())).unwrap();
            missing.retain(|topic| !results.iter().any(|result| result.as_ref().is_ok_and(|made| made == topic)));
        }
    }

    /// Partitions of a topic as a test finds it.
    pub(crate) fn count_of(&self, topic: &str) -> u32 {
        match topic {
            EVENTS => self.inputs,
            EVENTS_DEDUPED => OUTPUTS,
            _ => LANES,
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
        self.cut(topic, partition, rdkafka::Offset::End);
    }

    /// Deletes the records of a partition before an offset.
    pub(crate) fn cut(&self, topic: &str, partition: u32, offset: rdkafka::Offset) {
        let mut list = rdkafka::TopicPartitionList::new();
        list.add_partition_offset(topic, partition.cast_signed(), offset).unwrap();
        let deleted = block(self.admin().delete_records(&list, &AdminOptions::new())).unwrap();
        deleted.elements().iter().for_each(|element| element.error().unwrap());
    }

    /// Where a partition begins and ends.
    pub(crate) fn ends(&self, topic: &str, partition: u32) -> (u64, u64) {
        let client: BaseConsumer = ClientConfig::new().set("bootstrap.servers", &self.address).create().unwrap();
        let marks = client.fetch_watermarks(topic, partition.cast_signed(), Duration::from_secs(20)).unwrap();
        (marks.0.cast_unsigned(), marks.1.cast_unsigned())
    }

    pub(crate) fn freeze(&self) {
        self.signal(rustix::process::Signal::STOP);
    }

    pub(crate) fn thaw(&self) {
        self.signal(rustix::process::Signal::CONT);
    }

    pub(crate) fn kill(&self) {
        self.signal(rustix::process::Signal::KILL);
    }

    /// After a [`kill`](Self::kill): on the same port, with the same data. Does not wait for an answer.
    pub(crate) fn start_again(&self) {
        self.launch(self.launch.clone());
    }

    /// The same, by a clock that is off by so many seconds, which this library shifts; and back to the right one when what it
    /// returns is dropped.
    pub(crate) fn start_again_shifted(&'static self, shim: &str, seconds: i64) -> Shifted {
        let environment = vec![("LD_PRELOAD", shim.to_owned()), ("CLOCK_SHIFT_SECONDS", seconds.to_string())];
        self.launch(Launch { environment, ..self.launch.clone() });
        Shifted(self)
    }

    fn signal(&self, signal: rustix::process::Signal) {
        let pid = rustix::process::Pid::from_raw(self.process.load(Relaxed).cast_signed()).unwrap();
        rustix::process::kill_process(pid, signal).unwrap();
    }
}

/// A broker whose clock is wrong.
pub(crate) struct Shifted(&'static Broker);

impl Drop for Shifted {
    fn drop(&mut self) {
        self.0.kill();
        self.0.start_again();
    }
}

fn block<T>(future: impl Future<Output = T>) -> T {
    tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap().block_on(future)
}
