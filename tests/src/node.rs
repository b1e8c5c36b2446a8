//! One node of a cluster: a broker, its controller, or both in one process, as the script that `make kafka` uses has it.
//!
//! It is a child of this process as every program is: it can be killed or frozen at any instant.

use std::collections::BTreeMap;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use rustix::process::Signal;

use crate::turnstile::free_address;
use crate::{Program, wait};

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

/// A node, running or not; its data stays over kills, stops and starts.
#[derive(Debug)]
pub struct Node {
    /// Where clients find it, if it is a broker.
    pub address: SocketAddr,
    /// Where brokers find it, if it is a controller.
    pub(crate) controller: SocketAddr,
    folder: PathBuf,
    log: PathBuf,
    properties: BTreeMap<String, String>,
    cluster_id: Option<&'static str>,
    program: Option<Program>,
}

/// What a broker says of its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Answer {
    /// The cluster's id.
    pub cluster_id: String,
    /// Live brokers.
    pub brokers: u32,
}

impl Node {
    /// A broker with its controller, alone in its cluster; not started yet.
    pub(crate) fn new(folder: PathBuf) -> Self {
        fs::create_dir_all(&folder).expect("a folder for the node");
        Self {
            address: free_address(),
            controller: free_address(),
            log: folder.join("broker.log"),
            folder,
            properties: BTreeMap::new(),
            cluster_id: None,
            program: None,
        }
    }

    /// Sets a property; takes effect at the next start.
    pub(crate) fn set(&mut self, property: &str, value: &str) {
        self.properties.insert(property.to_owned(), value.to_owned());
    }

    /// Makes it one of the cluster with this id, which would be a random one.
    pub(crate) fn join(&mut self, cluster_id: &'static str) {
        self.cluster_id = Some(cluster_id);
    }

    /// Starts it without waiting for anything.
    ///
    /// # Panics
    /// Where it runs already or cannot be started.
    pub fn launch(&mut self) {
        assert!(self.program.is_none(), "the node runs already");
        self.program = Some(Program::start(self.command("run"), &self.log));
    }

    /// The script with one of its verbs that take a folder, about this node.
    pub fn command(&self, verb: &str) -> Command {
        let mut command = script(verb);
        command
            .arg("--dir")
            .arg(&self.folder)
            .args(["--port", &self.address.port().to_string()])
            .args(["--controller-port", &self.controller.port().to_string()]);
        if let Some(id) = self.cluster_id {
            command.args(["--cluster-id", id]);
        }
        for (property, value) in &self.properties {
            command.args(["--set", &format!("{property}={value}")]);
        }
        command
    }

    /// Waits until it answers, and knows so many live brokers.
    ///
    /// # Panics
    /// When it ends or takes too long instead.
    pub(crate) fn answered(&mut self, brokers: u32) {
        wait::until("the broker answers", ANSWER_LIMIT, || {
            if let Some(status) = self.running().ended() {
                panic!("the broker ended before it answered: {status}");
            }
            self.ask().filter(|answer| answer.brokers >= brokers)
        });
    }

    /// What it says of its cluster now; `None` when it gives no answer in a second or knows no live broker.
    pub(crate) fn ask(&self) -> Option<Answer> {
        answer(&metadata(self.address).ok()?)
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
        let mut program = self.program.take().expect("the node was started");
        program.signal(Signal::TERM);
        let status = program.wait(STOP_LIMIT);
        assert_eq!(status.code(), Some(TERMINATED), "an orderly stop of Kafka");
    }

    fn running(&mut self) -> &mut Program {
        self.program.as_mut().expect("the node was started")
    }
}

/// The script with one of its verbs.
pub(crate) fn script(verb: &str) -> Command {
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

/// What a reply says that names at least one live broker. A broker takes connections before it counts as one, and leads no
/// partition until then.
fn answer(reply: &[u8]) -> Option<Answer> {
    // Correlation, throttling.
    let (brokers, mut rest) = reply.get(8..)?.split_first_chunk()?;
    let brokers = u32::from_be_bytes(*brokers);
    for _ in 0..brokers {
        // Id, host, port, rack.
        (_, rest) = text(rest.get(4..)?)?;
        (_, rest) = text(rest.get(4..)?)?;
    }
    let (id, _) = text(rest)?;
    let cluster_id = id.filter(|_| brokers > 0)?.to_owned();
    Some(Answer { cluster_id, brokers })
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
        assert_eq!(answer(&reply), Some(Answer { cluster_id: "id".to_owned(), brokers: 1 }));
        for end in 0..HEAD.len() + 4 + broker.len() + 4 {
            assert_eq!(answer(&reply[..end]), None, "cut after {end} bytes");
        }
    }

    #[test]
    fn without_a_live_broker_there_is_no_answer() {
        let reply = [HEAD, &[0, 0, 0, 0], b"\0\x02id".as_slice()].concat();
        assert_eq!(answer(&reply), None);
    }
}
