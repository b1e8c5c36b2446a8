//! Real Kafka: a cluster of one broker, made by the script that `make kafka` uses, on ports of its own.
//!
//! A broker is a child of this process as every program is: it can be killed or frozen at any instant. [`Cluster::produce`] and [`Cluster::consume`] are Kafka's own console tools, slow (a start of
//! Java each) but judges that share no code with anything under test.

use std::collections::BTreeMap;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{fs, thread};

use rustix::process::Signal;

use crate::turnstile::free_address;
use crate::{Program, Scene, wait};

/// After a kill the session before runs out first (9 s), then the logs are checked; on a busy machine.
const ANSWER_LIMIT: Duration = Duration::from_mins(2);
/// A healthy broker answers in a few milliseconds, a frozen one takes the connection and never does.
const REPLY_LIMIT: Duration = Duration::from_secs(1);
/// An orderly stop takes about a second.
const STOP_LIMIT: Duration = Duration::from_mins(1);
/// The answer to a question about no topic has about 60 bytes.
const REPLY_BYTES_MAX: u32 = 4096;
/// What Java makes of SIGTERM after an orderly stop: 128 + 15.
const TERMINATED: i32 = 143;
/// How long the console consumer waits for a record that does not come.
const CONSUME_MS_MAX: &str = "30000";

/// One cluster, running or not; its data stays over kills, stops and starts.
#[derive(Debug)]
pub struct Cluster {
    /// Where clients find it.
    pub address: SocketAddr,
    pub(crate) controller: SocketAddr,
    folder: PathBuf,
    log: PathBuf,
    properties: BTreeMap<String, String>,
    program: Option<Program>,
}

/// A record as the console consumer prints it.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct Consumed {
    /// The partition it was read from.
    pub partition: u32,
    /// Its key as text.
    pub key: String,
    /// Its value as text.
    pub value: String,
}

impl Cluster {
    /// A cluster in the scenario's folder, not started yet.
    pub fn new(scene: &Scene, name: &str) -> Self {
        Self::within(scene.folder(), name)
    }

    /// The same in any folder.
    pub(crate) fn within(folder: &Path, name: &str) -> Self {
        let folder = folder.join(name);
        fs::create_dir_all(&folder).expect("a folder for the cluster");
        Self {
            address: free_address(),
            controller: free_address(),
            log: folder.join("broker.log"),
            folder,
            properties: BTreeMap::new(),
            program: None,
        }
    }

    /// Sets a broker property; takes effect at the next start.
    #[expect(clippy::needless_pass_by_value, reason = "numbers and texts are written where they are set")]
    #[must_use]
    pub fn set(mut self, property: &str, value: impl ToString) -> Self {
        self.properties.insert(property.to_owned(), value.to_string());
        self
    }

    /// Starts it without waiting for anything.
    ///
    /// # Panics
    /// Where it runs already or cannot be started.
    pub fn launch(&mut self) {
        assert!(self.program.is_none(), "the cluster runs already");
        self.program = Some(Program::start(self.command("run"), &self.log));
    }

    /// The script with one of its verbs that take a folder, about this cluster.
    pub fn command(&self, verb: &str) -> Command {
        let mut command = script(verb);
        command
            .arg("--dir")
            .arg(&self.folder)
            .args(["--port", &self.address.port().to_string()])
            .args(["--controller-port", &self.controller.port().to_string()]);
        for (property, value) in &self.properties {
            command.args(["--set", &format!("{property}={value}")]);
        }
        command
    }

    /// Waits until it answers.
    ///
    /// # Panics
    /// When it ends or takes too long instead.
    pub fn answered(&mut self) {
        wait::until("the broker answers", ANSWER_LIMIT, || {
            if let Some(status) = self.running().ended() {
                panic!("the broker ended before it answered: {status}");
            }
            self.ask()
        });
    }

    /// Starts it and waits until it answers.
    ///
    /// # Panics
    /// As for [`Self::launch`] and [`Self::answered`].
    pub fn start(&mut self) {
        self.launch();
        self.answered();
    }

    /// The cluster's id, as it answers now; `None` when it gives no answer in a second or has no live broker.
    pub fn ask(&self) -> Option<String> {
        let reply = metadata(self.address).ok()?;
        cluster_id(&reply).map(str::to_owned)
    }

    /// Makes it run whatever was done to it: killed, stopped or frozen.
    ///
    /// # Panics
    /// When it does not answer.
    pub(crate) fn repair(&mut self) {
        if self.program.as_mut().is_some_and(|program| program.ended().is_none()) {
            self.thaw();
        } else {
            self.program = None;
            self.launch();
        }
    }

    /// The folder of its records and of what it knows of itself.
    pub fn data(&self) -> PathBuf {
        self.folder.join("data")
    }

    /// The process id.
    ///
    /// # Panics
    /// When it does not run.
    pub fn id(&mut self) -> u32 {
        self.running().id()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut program) = self.program.take() {
            program.kill();
        }
    }

    /// Stops its time: its sockets stay open and nothing answers.
    ///
    /// # Panics
    /// When it does not run.
    pub fn freeze(&mut self) {
        self.running().signal(Signal::STOP);
    }

    /// Lets a frozen one go on.
    ///
    /// # Panics
    /// When it does not run.
    pub fn thaw(&mut self) {
        self.running().signal(Signal::CONT);
    }

    /// Stops it in order.
    ///
    /// # Panics
    /// When it does not end, or ends otherwise.
    pub fn stop(&mut self) {
        let mut program = self.program.take().expect("the cluster was started");
        program.signal(Signal::TERM);
        let status = program.wait(STOP_LIMIT);
        assert_eq!(status.code(), Some(TERMINATED), "an orderly stop of Kafka");
    }

    /// Creates those topics that are missing, with the settings that production needs, and with the lanes and partitions
    /// that `make kafka` gives them unless `options` of the script say otherwise; gives what it said.
    ///
    /// # Errors
    /// What it said, when a topic is not ours or has a number of partitions that does not suit the lanes.
    ///
    /// # Panics
    /// Where the script cannot be started.
    pub fn create_topics(&self, topics: &[&str], options: &[&str]) -> Result<String, String> {
        let output = script("topics")
            .args(["--port", &self.address.port().to_string()])
            .args(options)
            .args(topics)
            .output()
            .expect("the script can be started");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if output.status.success() { Ok(said) } else { Err(said) }
    }

    /// Produces records of a key and a value, free of tabs and line ends, where Kafka's own partitioner puts them;
    /// returns when all are acknowledged.
    ///
    /// # Panics
    /// When they are not.
    pub fn produce(&self, topic: &str, records: &[(String, String)]) {
        let mut child = self
            .tool("org.apache.kafka.tools.ConsoleProducer", topic)
            .args(["--producer-property", "acks=all", "--property", "parse.key=true"])
            .stdin(Stdio::piped())
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("the producer can be started");
        let lines: Vec<u8> =
            records.iter().flat_map(|(key, value)| [key, "\t", value, "\n"]).flat_map(str::bytes).collect();
        let mut input = child.stdin.take().expect("piped");
        // Beside the reading of what it says, or both could wait for each other.
        let writer = thread::spawn(move || input.write_all(&lines));
        let output = child.wait_with_output().expect("the producer ends");
        let said = String::from_utf8_lossy(&output.stderr);
        // A record that was not acknowledged is only said, not told by the exit code.
        assert!(output.status.success() && said.is_empty(), "the producer: {}\n{said}", output.status);
        writer.join().expect("no panic").expect("the producer took every line");
    }

    /// Consumes a topic's committed records from their beginning; gives `count` of them, sorted.
    ///
    /// # Panics
    /// When fewer come.
    pub fn consume(&self, topic: &str, count: usize) -> Vec<Consumed> {
        let output = self
            .tool("org.apache.kafka.tools.consumer.ConsoleConsumer", topic)
            .args(["--from-beginning", "--isolation-level", "read_committed", "--timeout-ms", CONSUME_MS_MAX])
            .args(["--max-messages", &count.to_string()])
            .args(["--property", "print.key=true", "--property", "print.partition=true"])
            .stdin(Stdio::null())
            .output()
            .expect("the consumer can be started");
        let said = String::from_utf8_lossy(&output.stderr);
        let printed = String::from_utf8(output.stdout).expect("texts were produced");
        let mut records: Vec<Consumed> = printed.lines().map(Consumed::parse).collect();
        assert_eq!(records.len(), count, "the consumer: {}\n{said}", output.status);
        records.sort();
        records
    }

    fn tool(&self, class: &str, topic: &str) -> Command {
        let mut command = self.asks(class);
        command.args(["--topic", topic]);
        command
    }

    /// One of Kafka's own tools, about this cluster.
    pub(crate) fn asks(&self, class: &str) -> Command {
        let mut command = script("tool");
        command.args([class, "--bootstrap-server", &self.address.to_string()]);
        command
    }

    fn running(&mut self) -> &mut Program {
        self.program.as_mut().expect("the cluster was started")
    }
}

impl Consumed {
    fn parse(line: &str) -> Self {
        let mut parts = line.splitn(3, '\t');
        let partition = parts.next().and_then(|part| part.strip_prefix("Partition:")).and_then(|n| n.parse().ok());
        let (Some(partition), Some(key), Some(value)) = (partition, parts.next(), parts.next()) else {
            panic!("not a record: {line}");
        };
        Self { partition, key: key.to_owned(), value: value.to_owned() }
    }
}

fn script(verb: &str) -> Command {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join("scripts/kafka/cluster");
    let mut command = Command::new(path);
    command.arg(verb);
    command
}

/// Asks for the cluster's metadata (request 3, version 7) about no topics, as every client does first.
fn metadata(address: SocketAddr) -> io::Result<Vec<u8>> {
    let mut stream = TcpStream::connect_timeout(&address, REPLY_LIMIT)?;
    stream.set_read_timeout(Some(REPLY_LIMIT))?;
    // Size; request, version; correlation; no client id; no topics; create none.
    stream.write_all(&[0, 0, 0, 15, 0, 3, 0, 7, 0, 0, 0, 1, 0xff, 0xff, 0, 0, 0, 0, 0])?;
    let mut size = [0; 4];
    stream.read_exact(&mut size)?;
    let size = u32::from_be_bytes(size);
    if size > REPLY_BYTES_MAX {
        return Err(io::ErrorKind::InvalidData.into());
    }
    let mut reply = vec![0; size as usize];
    stream.read_exact(&mut reply)?;
    Ok(reply)
}

/// The cluster's id in a reply that names at least one live broker. A broker takes connections before it counts as one,
/// and leads no partition until then.
fn cluster_id(reply: &[u8]) -> Option<&str> {
    // Correlation, throttling.
    let (brokers, mut rest) = reply.get(8..)?.split_first_chunk()?;
    let brokers = u32::from_be_bytes(*brokers);
    for _ in 0..brokers {
        // Id, host, port, rack.
        (_, rest) = text(rest.get(4..)?)?;
        (_, rest) = text(rest.get(4..)?)?;
    }
    let (id, _) = text(rest)?;
    id.filter(|_| brokers > 0)
}

/// A text with its length before it, -1 for none; and what follows it.
fn text(bytes: &[u8]) -> Option<(Option<&str>, &[u8])> {
    let (length, rest) = bytes.split_first_chunk()?;
    let Ok(length) = usize::try_from(i16::from_be_bytes(*length)) else {
        return Some((None, rest));
    };
    let (text, rest) = rest.split_at_checked(length)?;
    Some((Some(std::str::from_utf8(text).ok()?), rest))
}

#[cfg(test)]
mod tests {
    use super::*;

    const HEAD: &[u8] = &[0, 0, 0, 1, 0, 0, 0, 0];

    #[test]
    fn the_cluster_id_stands_after_the_brokers() {
        let broker = b"\0\0\0\x01\0\x04host\0\0\x10\x92\xff\xff";
        let id = b"\0\x02id\0\0\0\x01\0\0\0\0";
        let reply = [HEAD, &[0, 0, 0, 1], broker.as_slice(), id.as_slice()].concat();
        assert_eq!(cluster_id(&reply), Some("id"));
        for end in 0..HEAD.len() + 4 + broker.len() + 4 {
            assert_eq!(cluster_id(&reply[..end]), None, "cut after {end} bytes");
        }
    }

    #[test]
    fn without_a_live_broker_there_is_no_answer() {
        let reply = [HEAD, &[0, 0, 0, 0], b"\0\x02id".as_slice()].concat();
        assert_eq!(cluster_id(&reply), None);
    }

    #[test]
    fn a_consumed_line_has_three_parts() {
        let record = Consumed::parse("Partition:7\tkey\tvalue\twith a tab");
        assert_eq!(record, Consumed { partition: 7, key: "key".to_owned(), value: "value\twith a tab".to_owned() });
    }
}
