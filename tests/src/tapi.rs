//! `tapi` in front of two Kafka clusters: started, killed and started again on the same data and the same ports.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::ExitStatus;
use std::time::Duration;
use std::{fs, io};

use rustix::process::Signal;

use crate::metrics::Metrics;
use crate::turnstile::free_address;
use crate::{Kafka, Program, Scene, http, wait};

/// A start with recovery and a first look at both clusters, on a busy machine.
const READY_LIMIT: Duration = Duration::from_mins(1);
/// It promises to end well before.
const STOP_LIMIT: Duration = Duration::from_mins(1);
/// A backlog drains at tens of thousands of events a second.
const DRAIN_LIMIT: Duration = Duration::from_mins(1);

/// A `tapi`, running or not.
#[derive(Debug)]
pub struct Tapi {
    /// Where SDKs post.
    pub ingest: SocketAddr,
    /// Where the metrics are.
    pub admin: SocketAddr,
    data: PathBuf,
    log: PathBuf,
    environment: BTreeMap<String, String>,
    program: Option<Program>,
}

impl Tapi {
    /// In front of these clusters, with its data in the scenario's folder, not started yet.
    pub fn new(scene: &Scene, kafka: &Kafka) -> Self {
        let tapi = Self {
            ingest: free_address(),
            admin: free_address(),
            data: scene.folder().join("tapi"),
            log: scene.folder().join("tapi.log"),
            environment: BTreeMap::new(),
            program: None,
        };
        tapi.set("TAPI_KAFKA_PRIMARY", kafka.primary.address).set("TAPI_KAFKA_SECONDARY", kafka.secondary.address)
    }

    /// Sets a configuration value, by the name of its environment variable; takes effect at the next start.
    #[expect(clippy::needless_pass_by_value, reason = "numbers and texts are written where they are set")]
    #[must_use]
    pub fn set(mut self, variable: &str, value: impl ToString) -> Self {
        self.environment.insert(variable.to_owned(), value.to_string());
        self
    }

    /// Starts it without waiting for anything.
    ///
    /// # Panics
    /// Where it runs already or cannot be started.
    pub fn launch(&mut self) {
        assert!(self.program.is_none(), "tapi runs already");
        let mut command = Program::command("tapi");
        command
            .arg("run")
            .env("TAPI_LISTEN", self.ingest.to_string())
            .env("TAPI_ADMIN_LISTEN", self.admin.to_string())
            .env("TAPI_DATA", &self.data)
            .envs(&self.environment);
        self.program = Some(Program::start(command, &self.log));
    }

    /// Starts it and waits until it says that it is ready.
    ///
    /// # Panics
    /// When it ends or takes too long instead.
    pub fn start(&mut self) {
        let starts_before = self.ready_lines();
        self.launch();
        wait::until("tapi becomes ready", READY_LIMIT, || {
            if let Some(status) = self.running().ended() {
                panic!("tapi ended before it was ready: {status}");
            }
            (self.ready_lines() > starts_before).then_some(())
        });
    }

    fn ready_lines(&self) -> usize {
        let ready = format!("tapi ready ingest={} admin={}", self.ingest, self.admin);
        self.printed().lines().filter(|line| line.trim() == ready).count()
    }

    /// Starts it and waits until it ends by itself.
    ///
    /// # Panics
    /// When it does not end.
    pub fn refuses(&mut self) -> ExitStatus {
        self.launch();
        let mut program = self.program.take().expect("just started");
        program.wait(READY_LIMIT)
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
        let mut program = self.program.take().expect("tapi was started");
        program.signal(Signal::TERM);
        program.wait(STOP_LIMIT)
    }

    /// What `/metrics` says now.
    ///
    /// # Errors
    /// Where nobody answers.
    pub fn metrics(&self) -> io::Result<Metrics> {
        Ok(Metrics::parse(&http::get(self.admin, "/metrics")?.text()))
    }

    /// A metric's sum over the series with this label.
    ///
    /// # Panics
    /// Where nobody answers, or there is no such series.
    pub fn figure(&self, name: &str, label: &str) -> f64 {
        let metrics = self.metrics().expect("the admin port answers");
        metrics.sum_where(name, label).unwrap_or_else(|| panic!("there is no {name} with {label}"))
    }

    /// Waits until everything accepted was acknowledged by a cluster.
    ///
    /// # Panics
    /// When it was not.
    pub fn drained(&self) {
        wait::until("the buffer drains", DRAIN_LIMIT, || {
            (self.metrics().ok()?.sum("local_buffer_backlog_records")? == 0.0).then_some(())
        });
    }

    /// Everything it has printed, over all its starts.
    pub fn printed(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    fn running(&mut self) -> &mut Program {
        self.program.as_mut().expect("tapi was started")
    }
}
