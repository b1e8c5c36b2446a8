//! The server under test: started, killed and started again on the same data and the same ports.

use std::collections::BTreeMap;
use std::net::{Ipv4Addr, SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;
use std::{fs, io};

use rand::rngs::StdRng;
use rand::{Rng as _, SeedableRng as _};
use rustix::process::Signal;

use crate::metrics::Metrics;
use crate::scene::entropy;
use crate::secure::Authority;
use crate::{Program, Scene, http, wait};

/// Ports are taken below the kernel's ephemeral range: a client that tries again and again while the server is down
/// would sooner or later be given the server's own port as its source port, connect to itself and keep the port.
const PORTS: std::ops::Range<u16> = 10_240..32_000;

/// A start with recovery, on a machine busy with other work.
const READY_LIMIT: Duration = Duration::from_mins(1);
/// The server promises to end well before.
const STOP_LIMIT: Duration = Duration::from_mins(1);
/// A backlog drains at tens of thousands of events a second.
const DRAIN_LIMIT: Duration = Duration::from_mins(2);

/// A turnstile server, running or not.
#[derive(Debug)]
pub struct Turnstile {
    /// Where SDKs post.
    pub ingest: SocketAddr,
    /// Where the metrics are.
    pub admin: SocketAddr,
    data: PathBuf,
    log: PathBuf,
    environment: BTreeMap<String, String>,
    program: Option<Program>,
}

impl Turnstile {
    /// A server with its data in the scenario's folder, not started yet.
    pub fn new(scene: &Scene) -> Self {
        Self::with_data(scene, scene.folder().join("data"))
    }

    /// The same with its data elsewhere.
    pub fn with_data(scene: &Scene, data: PathBuf) -> Self {
        Self {
            ingest: free_address(),
            admin: free_address(),
            data,
            log: scene.folder().join("turnstile.log"),
            environment: BTreeMap::new(),
            program: None,
        }
    }

    /// Sets a configuration value, by the name of its environment variable; takes effect at the next start.
    #[expect(clippy::needless_pass_by_value, reason = "numbers and texts are written where they are set")]
    #[must_use]
    pub fn set(mut self, variable: &str, value: impl ToString) -> Self {
        self.environment.insert(variable.to_owned(), value.to_string());
        self
    }

    /// Sets a certificate for 127.0.0.1: it speaks TLS alone from the next start on.
    #[must_use]
    pub fn with_tls(self, authority: &Authority) -> Self {
        self.set("TURNSTILE_TLS_CERTIFICATE", authority.signed().display())
            .set("TURNSTILE_TLS_KEY", authority.key().display())
    }

    /// Starts it without waiting for anything.
    ///
    /// # Panics
    /// Where it runs already or cannot be started.
    pub fn launch(&mut self) {
        assert!(self.program.is_none(), "turnstile runs already");
        self.program = Some(Program::start(self.with_settings(&["run"]), &self.log));
    }

    /// Runs another of its commands over the same data, to its end; gives what it printed.
    ///
    /// # Panics
    /// When it does not exit with 0.
    pub fn command(&self, words: &[&str]) -> String {
        assert!(self.program.is_none(), "turnstile still runs");
        let output = self.with_settings(words).output().expect("turnstile can be started");
        let printed = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "turnstile {words:?}: {}\n{printed}", output.status);
        printed
    }

    fn with_settings(&self, words: &[&str]) -> Command {
        let mut command = Program::command("turnstile");
        command
            .args(words)
            .env("TURNSTILE_LISTEN", self.ingest.to_string())
            .env("TURNSTILE_ADMIN_LISTEN", self.admin.to_string())
            .env("TURNSTILE_DATA", &self.data)
            .envs(&self.environment);
        command
    }

    /// Starts it and waits until it says that it is ready.
    ///
    /// # Panics
    /// When it ends or takes too long instead.
    pub fn start(&mut self) {
        let starts_before = self.ready_lines();
        self.launch();
        wait::until("turnstile becomes ready", READY_LIMIT, || {
            if let Some(status) = self.running().ended() {
                panic!("turnstile ended before it was ready: {status}");
            }
            (self.ready_lines() > starts_before).then_some(())
        });
    }

    /// How many starts have become ready.
    pub fn ready_lines(&self) -> usize {
        let ready = format!("turnstile ready ingest={} admin={}", self.ingest, self.admin);
        fs::read_to_string(&self.log).unwrap_or_default().lines().filter(|line| line.trim() == ready).count()
    }

    /// Whether the process lives.
    pub fn alive(&mut self) -> bool {
        self.program.as_mut().is_some_and(|program| program.ended().is_none())
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut program) = self.program.take() {
            program.kill();
        }
    }

    /// SIGTERM, and how it ended.
    ///
    /// # Panics
    /// When it does not end.
    pub fn stop(&mut self) -> ExitStatus {
        let mut program = self.program.take().expect("turnstile was started");
        program.signal(Signal::TERM);
        program.wait(STOP_LIMIT)
    }

    /// The data folder.
    pub fn data(&self) -> &Path {
        &self.data
    }

    /// The folder of the deduplicated events.
    pub fn deduped(&self) -> PathBuf {
        self.data.join("deduped")
    }

    /// The folder of the events set aside.
    pub fn rejected(&self) -> PathBuf {
        self.data.join("rejected")
    }

    /// What `/metrics` says now.
    ///
    /// # Errors
    /// Where nobody answers.
    pub fn metrics(&self) -> io::Result<Metrics> {
        let answer = http::get(self.admin, "/metrics")?;
        Ok(Metrics::parse(&answer.text()))
    }

    /// Waits until everything accepted has come out.
    ///
    /// # Panics
    /// When it does not.
    pub fn drained(&self) {
        wait::until("the buffer drains", DRAIN_LIMIT, || {
            (self.metrics().ok()?.sum("local_buffer_backlog_records")? == 0.0).then_some(())
        });
    }

    /// A value of `/proc/PID/status` in bytes, such as `VmRSS` or `VmHWM`.
    ///
    /// # Panics
    /// When the server does not run.
    pub fn memory_bytes(&mut self, field: &str) -> u64 {
        let status = fs::read_to_string(format!("/proc/{}/status", self.running().id())).expect("turnstile runs");
        let line = status.lines().find(|line| line.starts_with(field)).expect("a field of /proc/PID/status");
        let kilobytes: u64 = line.split_whitespace().nth(1).and_then(|number| number.parse().ok()).expect("a number");
        kilobytes * 1024
    }

    /// Everything the server has printed, over all its starts.
    pub fn printed(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn running(&mut self) -> &mut Program {
        self.program.as_mut().expect("turnstile was started")
    }
}

/// An address that nobody listens on.
///
/// # Panics
/// Never: it goes on looking.
pub fn free_address() -> SocketAddr {
    let mut rng = StdRng::seed_from_u64(entropy());
    loop {
        let address = SocketAddr::from((Ipv4Addr::LOCALHOST, rng.random_range(PORTS)));
        if TcpListener::bind(address).is_ok() {
            return address;
        }
    }
}
