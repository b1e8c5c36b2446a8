//! A program that serves until it is ended: started, killed and started again on the same data and the same ports.

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::ExitStatus;
use std::time::Duration;
use std::{fs, io};

use rustix::process::Signal;

use crate::metrics::Metrics;
use crate::{Program, http, wait};

/// A start with recovery and a first look at both clusters, on a busy machine.
const READY_LIMIT: Duration = Duration::from_mins(1);
/// Each of them promises to end well before.
const STOP_LIMIT: Duration = Duration::from_mins(1);

/// A serving program, running or not.
#[derive(Debug)]
pub struct Server {
    /// Where its metrics are.
    pub admin: SocketAddr,
    name: &'static str,
    /// The line that it prints when it is ready.
    ready: String,
    log: PathBuf,
    environment: BTreeMap<String, String>,
    /// Of `run`.
    options: Vec<&'static str>,
    program: Option<Program>,
}

impl Server {
    /// The program `name`, not started yet. It prints `ready` when it is, all of it appended to `log`.
    pub(crate) fn new(name: &'static str, admin: SocketAddr, ready: String, log: PathBuf) -> Self {
        Self { admin, name, ready, log, environment: BTreeMap::new(), options: Vec::new(), program: None }
    }

    /// Sets a configuration value, by the name of its environment variable; takes effect at the next start.
    #[expect(clippy::needless_pass_by_value, reason = "numbers and texts are written where they are set")]
    pub fn configure(&mut self, variable: &str, value: impl ToString) {
        self.environment.insert(variable.to_owned(), value.to_string());
    }

    /// Gives `run` an option; takes effect at the next start.
    pub fn option(&mut self, option: &'static str) {
        self.options.push(option);
    }

    /// Starts it without waiting for anything.
    ///
    /// # Panics
    /// Where it runs already or cannot be started.
    pub fn launch(&mut self) {
        assert!(self.program.is_none(), "{} runs already", self.name);
        let mut command = Program::command(self.name);
        command.arg("run").args(&self.options).envs(&self.environment);
        self.program = Some(Program::start(command, &self.log));
    }

    /// Starts it and waits until it says that it is ready.
    ///
    /// # Panics
    /// When it ends or takes too long instead.
    pub fn start(&mut self) {
        let starts_before = self.ready_lines();
        self.launch();
        wait::until("it becomes ready", READY_LIMIT, || {
            if let Some(status) = self.running().ended() {
                panic!("{} ended before it was ready: {status}", self.name);
            }
            (self.ready_lines() > starts_before).then_some(())
        });
    }

    fn ready_lines(&self) -> usize {
        self.printed().lines().filter(|line| line.trim() == self.ready).count()
    }

    /// Starts it and waits until it ends by itself.
    ///
    /// # Panics
    /// When it does not end.
    pub fn refuses(&mut self) -> ExitStatus {
        self.launch();
        self.ends()
    }

    /// Waits until it ends by itself.
    ///
    /// # Panics
    /// When it does not.
    pub fn ends(&mut self) -> ExitStatus {
        let mut program = self.program.take().expect("it was started");
        program.wait(READY_LIMIT)
    }

    /// Runs another of its commands with the same settings, to its end; gives what it printed, as a success or not.
    ///
    /// # Errors
    /// What it printed when it did not exit with 0.
    ///
    /// # Panics
    /// Where it cannot be started.
    pub fn command(&self, words: &[&str]) -> Result<String, String> {
        let mut command = Program::command(self.name);
        let output = command.args(words).envs(&self.environment).output().expect("it can be started");
        let printed = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        if output.status.success() { Ok(printed) } else { Err(printed) }
    }

    /// `kill -9`.
    pub fn kill(&mut self) {
        if let Some(mut program) = self.program.take() {
            program.kill();
        }
    }

    /// Stops its time.
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

    /// SIGTERM, and how it ended.
    ///
    /// # Panics
    /// When it does not end.
    pub fn stop(&mut self) -> ExitStatus {
        let mut program = self.program.take().expect("it was started");
        program.signal(Signal::TERM);
        program.wait(STOP_LIMIT)
    }

    /// Whether it was started and not ended by the scenario.
    pub fn is_started(&self) -> bool {
        self.program.is_some()
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

    /// Everything it has printed, over all its starts.
    pub fn printed(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    /// Waits until it has printed this.
    ///
    /// # Panics
    /// When it does not.
    pub fn says(&self, text: &str) {
        wait::until(text, READY_LIMIT, || self.printed().contains(text).then_some(()));
    }

    /// Where it prints to.
    pub fn log(&self) -> &Path {
        &self.log
    }

    fn running(&mut self) -> &mut Program {
        self.program.as_mut().expect("it was started")
    }
}
