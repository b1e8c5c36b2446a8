//! The program as a child process.

use std::fs::{self, File};
use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};

/// How long anything that ends by itself may take on a busy machine.
const LIMIT: Duration = Duration::from_mins(1);

pub(crate) struct Worker {
    child: Child,
    log: PathBuf,
}

impl Worker {
    pub(crate) fn start(mut command: Command, log: &Path) -> Self {
        let file = File::options().create(true).append(true).open(log).unwrap();
        command.stdin(Stdio::null()).stdout(file.try_clone().unwrap()).stderr(file);
        super::brokers::die_with_parent(&mut command);
        Self { child: command.spawn().unwrap(), log: log.to_owned() }
    }

    pub(crate) fn signal(&self, signal: Signal) {
        // One that has ended is no error: some are meant to.
        let _ = kill_process(Pid::from_raw(self.child.id().cast_signed()).unwrap(), signal);
    }

    /// Waits until it has stopped itself.
    pub(crate) fn wait_until_paused(&self) {
        let begun = Instant::now();
        while !self.is_paused() {
            assert!(begun.elapsed() < LIMIT, "it never came to where it was to pause\n{}", self.log());
            thread::sleep(Duration::from_millis(5));
        }
    }

    pub(crate) fn is_paused(&self) -> bool {
        let stat = fs::read_to_string(format!("/proc/{}/stat", self.child.id())).unwrap();
        stat.rsplit_once(") ").unwrap().1.starts_with('T')
    }

    pub(crate) fn kill(mut self) {
        self.signal(Signal::KILL);
        self.child.wait().unwrap();
    }

    /// SIGTERM, and it ends in good order.
    pub(crate) fn stop(mut self) {
        self.signal(Signal::TERM);
        let status = self.wait();
        assert!(status.success(), "{status}\n{}", self.log());
    }

    /// Whether it has ended by itself.
    pub(crate) fn has_ended(&mut self) -> bool {
        self.child.try_wait().unwrap().is_some()
    }

    /// Waits for it to end by itself.
    pub(crate) fn wait(&mut self) -> ExitStatus {
        let begun = Instant::now();
        loop {
            if let Some(status) = self.child.try_wait().unwrap() {
                return status;
            }
            assert!(begun.elapsed() < LIMIT, "it still runs\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// Waits for it to kill itself.
    pub(crate) fn wait_until_killed(mut self) {
        let status = self.wait();
        assert_eq!(status.signal(), Some(9), "{status}\n{}", self.log());
    }

    /// How often it had to begin a lane again, by its log.
    pub(crate) fn faults(&self) -> usize {
        self.log().matches("everything uncommitted was dropped").count()
    }

    /// Waits until it has begun a lane again more than `before` times.
    pub(crate) fn wait_for_a_fault(&self, before: usize) {
        let begun = Instant::now();
        while self.faults() <= before {
            assert!(begun.elapsed() < LIMIT, "nothing went wrong\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// Waits until the log says so.
    pub(crate) fn wait_for_log(&self, text: &str) {
        let begun = Instant::now();
        while !self.log().contains(text) {
            assert!(begun.elapsed() < LIMIT, "the log does not say {text:?}\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    /// What the admin port answers, head and body.
    pub(crate) fn get(&self, path: &str) -> String {
        self.wait_for_log("dedup-worker ready admin=");
        let log = self.log();
        let address = log.rsplit_once("ready admin=").unwrap().1.lines().next().unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        write!(stream, "GET {path} HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n").unwrap();
        let mut text = String::new();
        stream.read_to_string(&mut text).unwrap();
        text
    }

    /// A figure of `/metrics`, named with its labels.
    pub(crate) fn metric(&self, name: &str) -> u64 {
        let text = self.get("/metrics");
        let line = text.lines().find(|line| line.rsplit_once(' ').is_some_and(|(found, _)| found == name));
        line.unwrap_or_else(|| panic!("no {name} in {text}")).rsplit(' ').next().unwrap().parse().unwrap()
    }

    /// Waits until `/readyz` answers with this status, and gives its body.
    pub(crate) fn wait_for_readiness(&self, status: u16) -> String {
        let begun = Instant::now();
        loop {
            let answer = self.get("/readyz");
            if answer.starts_with(&format!("HTTP/1.1 {status} ")) {
                return answer.rsplit_once("\r\n\r\n").unwrap().1.to_owned();
            }
            assert!(begun.elapsed() < LIMIT, "{answer}\n{}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    /// Waits until it has so many clients of clusters, by the name of the thread that each has.
    pub(crate) fn wait_for_clients(&self, count: usize) {
        let begun = Instant::now();
        loop {
            let threads = fs::read_dir(format!("/proc/{}/task", self.child.id())).unwrap();
            let names =
                threads.map(|thread| fs::read_to_string(thread.unwrap().path().join("comm")).unwrap_or_default());
            let clients = names.filter(|name| name.trim_end() == "rdk:main").count();
            if clients == count {
                return;
            }
            assert!(begun.elapsed() < LIMIT, "{clients} clients\n{}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
    }

    pub(crate) fn wait_for_metric(&self, name: &str, is_right: impl Fn(u64) -> bool) {
        let begun = Instant::now();
        loop {
            let value = self.metric(name);
            if is_right(value) {
                return;
            }
            assert!(begun.elapsed() < LIMIT, "{name} is {value}\n{}", self.log());
            thread::sleep(Duration::from_millis(50));
        }
    }
}

impl Drop for Worker {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- {}\n{}", self.log.display(), self.log());
        }
    }
}
