//! The programs themselves, from the folder that the bench was built into; `make bench` builds them first.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use crate::machine;

/// A start on a busy machine.
const READY_LIMIT: Duration = Duration::from_mins(1);
/// Between two looks at something that is waited for.
const POLL: Duration = Duration::from_millis(5);

/// A running program; killed when dropped.
#[derive(Debug)]
pub struct Program {
    child: Child,
    log: PathBuf,
    admin: SocketAddr,
}

/// The program of this name, as a command to be completed.
///
/// # Panics
/// Where this executable has no path.
pub fn command(name: &str) -> Command {
    let bench = std::env::current_exe().expect("the path of this executable");
    let folder = bench.parent().and_then(Path::parent).expect("the folder of the build");
    Command::new(folder.join(name))
}

impl Program {
    /// Starts it, its output in `log`, and waits for the line in which it says where its admin port is.
    ///
    /// # Panics
    /// Where it does not start or does not say so.
    pub fn start(mut command: Command, log: &Path) -> Self {
        let file = File::create(log).expect("a log file");
        command.stdin(Stdio::null()).stdout(file.try_clone().expect("one more handle")).stderr(file);
        let mut child = command.spawn().unwrap_or_else(|error| panic!("{command:?}: {error}"));
        let begun = Instant::now();
        let admin = loop {
            if let Some(address) = said(log, "admin") {
                break address;
            }
            let ended = child.try_wait().expect("a child").is_some();
            let text = || std::fs::read_to_string(log).unwrap_or_default();
            assert!(!ended && begun.elapsed() < READY_LIMIT, "{command:?} is not ready:\n{}", text());
            thread::sleep(POLL);
        };
        Self { child, log: log.to_owned(), admin }
    }

    /// Its process id.
    pub fn id(&self) -> u32 {
        self.child.id()
    }

    /// The address that it says it listens on under this name, as `ingest=127.0.0.1:8080` in the line that says that it is
    /// ready.
    ///
    /// # Panics
    /// Where it says none.
    pub fn address(&self, name: &str) -> SocketAddr {
        said(&self.log, name).unwrap_or_else(|| panic!("no {name} in\n{}", self.log()))
    }

    /// Processor time so far.
    pub fn processor_time(&self) -> Duration {
        machine::processor_time(self.child.id())
    }

    /// What it has printed and logged.
    pub fn log(&self) -> String {
        std::fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// A figure of its `/metrics`, named with its labels; 0 while it is not there.
    ///
    /// # Panics
    /// Where nobody answers.
    pub fn metric(&self, name: &str) -> u64 {
        let mut stream = TcpStream::connect(self.admin).unwrap_or_else(|error| panic!("{error}\n{}", self.log()));
        stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n").expect("a request");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("an answer");
        let value =
            text.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(' ')?.trim().parse::<f64>().ok());
        value.map_or(0, |value| value as u64)
    }

    /// SIGTERM; it ends by itself after that.
    ///
    /// # Panics
    /// Where it does not run.
    pub fn terminate(&self) {
        let pid = rustix::process::Pid::from_child(&self.child);
        rustix::process::kill_process(pid, rustix::process::Signal::TERM).expect("it runs");
    }

    /// `kill -9`.
    pub fn kill(self) {
        drop(self);
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// The address behind a name and `=` in the line that says `ready`.
fn said(log: &Path, name: &str) -> Option<SocketAddr> {
    let lines = BufReader::new(File::open(log).ok()?).lines().map_while(Result::ok);
    let line = lines.into_iter().find(|line| line.contains(" ready ") && line.contains("admin="))?;
    line.split_whitespace().find_map(|word| word.strip_prefix(name)?.strip_prefix('=')?.parse().ok())
}

/// Waits until `is_so`, looking every few milliseconds.
///
/// # Panics
/// After `limit`.
pub fn wait_until(what: &str, limit: Duration, mut is_so: impl FnMut() -> bool) {
    let begun = Instant::now();
    while !is_so() {
        assert!(begun.elapsed() < limit, "after {limit:?} it is still not so: {what}");
        thread::sleep(POLL);
    }
}
