//! Real Kafka: clusters of one broker or three, made by the script that `make kafka` uses, on ports of their own.
//!
//! [`Cluster::produce`] and [`Cluster::consume`] are Kafka's own console tools, slow (a start of Java each) but judges that
//! share no code with anything under test.

use std::io::Write as _;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::thread;
use std::time::Duration;

use crate::node::{Node, script};
use crate::{Scene, topic, wait};

/// How long the console consumer waits for a record that does not come.
const CONSUME_MS_MAX: &str = "30000";
/// Brokers of a cluster that keeps every record more than once.
const REPLICAS: u32 = 3;
/// The id of the controller beside them, which are 1, 2 and 3.
const CONTROLLER: u32 = 100;
/// 16 bytes in base64url, told to each node: they have to agree, and a script for one would make one up.
const THREE_BROKERS: &str = "three-brokers-by-testA";
/// Longest wait until every replica has all that its leader has; one that was killed checks its logs first.
const SYNC_LIMIT: Duration = Duration::from_mins(1);

/// One cluster, running or not; its data stays over kills, stops and starts. What is done to it is done to all of it;
/// [`brokers`](Self::brokers) are there to be broken one by one.
#[derive(Debug)]
pub struct Cluster {
    /// Where tools find it: its first broker.
    pub address: SocketAddr,
    /// Its brokers, one or three.
    pub brokers: Vec<Node>,
    /// The controller of three; one broker is its own.
    controller: Option<Node>,
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
    /// A cluster of one broker in the scenario's folder, not started yet.
    pub fn new(scene: &Scene, name: &str) -> Self {
        Self::within(scene.folder(), name)
    }

    /// The same in any folder.
    pub(crate) fn within(folder: &Path, name: &str) -> Self {
        let broker = Node::new(folder.join(name));
        Self { address: broker.address, brokers: vec![broker], controller: None }
    }

    /// A cluster of three brokers: each record lies on all of them and is acknowledged when two have it. Their controller
    /// is a process of its own, so that no broker is more than another one.
    pub(crate) fn of_three(folder: &Path, name: &str) -> Self {
        let folder = folder.join(name);
        let node = |id: u32, role: &str| {
            let mut node = Node::new(folder.join(format!("{role}-{id}")));
            node.set("node.id", &id.to_string());
            node.set("process.roles", role);
            node
        };
        let mut controller = node(CONTROLLER, "controller");
        let address = controller.controller;
        let mut brokers: Vec<Node> = (1..=REPLICAS).map(|id| node(id, "broker")).collect();
        let listens = |node: &mut Node, on: &str| {
            node.set("listeners", on);
            node.set("advertised.listeners", on);
        };
        listens(&mut controller, &format!("CONTROLLER://{address}"));
        for broker in &mut brokers {
            let on = format!("PLAINTEXT://{}", broker.address);
            listens(broker, &on);
        }
        let mut cluster = Self { address: brokers[0].address, brokers, controller: Some(controller) };
        for node in cluster.nodes() {
            node.join(THREE_BROKERS);
        }
        cluster
            .set("controller.quorum.voters", format!("{CONTROLLER}@{address}"))
            .set("default.replication.factor", REPLICAS)
            .set("offsets.topic.replication.factor", REPLICAS)
            .set("transaction.state.log.replication.factor", REPLICAS)
            .set("transaction.state.log.min.isr", REPLICAS - 1)
            .set("min.insync.replicas", REPLICAS - 1)
    }

    /// Sets a property of every node; takes effect at the next start.
    #[expect(clippy::needless_pass_by_value, reason = "numbers and texts are written where they are set")]
    #[must_use]
    pub fn set(mut self, property: &str, value: impl ToString) -> Self {
        let value = value.to_string();
        self.nodes().for_each(|node| node.set(property, &value));
        self
    }

    /// Where clients find it: its brokers with commas between.
    pub fn bootstrap(&self) -> String {
        self.brokers.iter().map(|broker| broker.address.to_string()).collect::<Vec<_>>().join(",")
    }

    /// Starts it without waiting for anything.
    ///
    /// # Panics
    /// Where it runs already or cannot be started.
    pub fn launch(&mut self) {
        self.nodes().for_each(Node::launch);
    }

    /// The script with one of its verbs that take a folder, about a cluster of one broker.
    pub fn command(&self, verb: &str) -> Command {
        self.brokers[0].command(verb)
    }

    /// Waits until each broker answers and knows the others.
    ///
    /// # Panics
    /// When one ends or takes too long instead.
    pub fn answered(&mut self) {
        let count = self.brokers.len() as u32;
        self.brokers.iter_mut().for_each(|broker| broker.answered(count));
    }

    /// Starts it and waits until it answers.
    ///
    /// # Panics
    /// As for [`Self::launch`] and [`Self::answered`].
    pub fn start(&mut self) {
        self.launch();
        self.answered();
    }

    /// Waits until every record of every topic lies on every broker, as whoever restarts one after the other has to.
    ///
    /// # Panics
    /// When it takes too long.
    pub fn in_sync(&self) {
        let brokers = self.bootstrap();
        wait::until("every replica is in sync", SYNC_LIMIT, || topic::is_in_sync(&brokers).then_some(()));
    }

    /// The cluster's id, as its first broker answers now; `None` when that gives no answer in a second or knows no live one.
    pub fn ask(&self) -> Option<String> {
        self.brokers[0].ask().map(|answer| answer.cluster_id)
    }

    /// Makes it run whatever was done to it: killed, stopped or frozen.
    ///
    /// # Panics
    /// When it does not answer.
    pub(crate) fn repair(&mut self) {
        self.nodes().for_each(Node::repair);
    }

    /// The folder of the records of its first broker, and of what that knows of itself.
    pub fn data(&self) -> PathBuf {
        self.brokers[0].data()
    }

    /// The process id of its first broker.
    ///
    /// # Panics
    /// When it does not run.
    pub fn id(&mut self) -> u32 {
        self.brokers[0].id()
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        self.nodes().for_each(Node::kill);
    }

    /// Stops its time: its sockets stay open and nothing answers.
    ///
    /// # Panics
    /// When it does not run.
    pub fn freeze(&mut self) {
        self.nodes().for_each(Node::freeze);
    }

    /// Lets a frozen one go on.
    ///
    /// # Panics
    /// When it does not run.
    pub fn thaw(&mut self) {
        self.nodes().for_each(Node::thaw);
    }

    /// Stops it in order, the controller last: the brokers take leave of it.
    ///
    /// # Panics
    /// When it does not end, or ends otherwise.
    pub fn stop(&mut self) {
        self.nodes().for_each(Node::stop);
    }

    fn nodes(&mut self) -> impl Iterator<Item = &mut Node> {
        self.brokers.iter_mut().chain(&mut self.controller)
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumed_line_has_three_parts() {
        let record = Consumed::parse("Partition:7\tkey\tvalue\twith a tab");
        assert_eq!(record, Consumed { partition: 7, key: "key".to_owned(), value: "value\twith a tab".to_owned() });
    }
}
