//! One test: fresh topics, a folder, workers.

use std::cell::Cell;
use std::path::Path;
use std::process::Command;
use std::sync::MutexGuard;
use std::sync::atomic::{AtomicU32, Ordering::Relaxed};
use std::time::{Duration, Instant};

use rand::SeedableRng as _;
use rand::rngs::SmallRng;
use rdkafka::ClientConfig;
use rdkafka::consumer::{BaseConsumer, Consumer as _};
use tempfile::TempDir;
use wire::topic::{EVENTS, EVENTS_DEDUPED, EVENTS_INDEX, EVENTS_REJECTED};

use super::brokers::{Brokers, brokers, turn};
use super::events::{Events, Output};
use super::proxy::Mode;
use super::worker::Worker;

/// Lanes that every worker would refuse.
pub(crate) const REFUSED_BY_LOG: &str = "dedup_lanes_refused{by=\"log\"}";

pub(crate) struct Scene {
    pub(crate) brokers: &'static Brokers,
    pub(crate) primary: Events,
    pub(crate) secondary: Events,
    /// Where its workers share the lanes. The brokers remember the members of other scenes for a session.
    pub(crate) group: String,
    folder: TempDir,
    started: Cell<u32>,
    begun: Instant,
    _turn: MutexGuard<'static, ()>,
}

/// Whether the long forms were asked for (`make chaos`).
pub(crate) fn chaos() -> bool {
    std::env::var_os("TESTS_CHAOS").is_some_and(|value| value == "1")
}

/// What is random in a long form; prints the seed, which `TESTS_SEED` gives again.
pub(crate) fn random() -> SmallRng {
    let given = std::env::var("TESTS_SEED").ok().and_then(|seed| seed.parse().ok());
    let seed = given.unwrap_or(super::events::now_ms().cast_unsigned());
    println!("TESTS_SEED={seed}");
    SmallRng::seed_from_u64(seed)
}

impl Scene {
    pub(crate) fn new() -> Self {
        static SCENES: AtomicU32 = AtomicU32::new(0);
        let turn = turn();
        let brokers = brokers();
        let begun = Instant::now();
        brokers.proxy.set(Mode::Pass);
        brokers.primary.make_anew(&[EVENTS, EVENTS_DEDUPED, EVENTS_INDEX, EVENTS_REJECTED]);
        brokers.secondary.make_anew(&[EVENTS]);
        let (primary, secondary) = (Events::to(&brokers.primary), Events::to(&brokers.secondary));
        let group = format!("workers-{}", SCENES.fetch_add(1, Relaxed));
        let (folder, started) = (TempDir::new().unwrap(), Cell::new(0));
        Self { brokers, primary, secondary, group, folder, started, begun, _turn: turn }
    }

    pub(crate) fn output(&self) -> Output {
        Output::of(&self.brokers.primary)
    }

    pub(crate) fn folder(&self) -> &Path {
        self.folder.path()
    }

    /// The program with the settings of this test; `name` is its folder, and so its index.
    pub(crate) fn command(&self, name: &str, arguments: &[&str]) -> Command {
        let mut command = Command::new(env!("CARGO_BIN_EXE_dedup-worker"));
        command
            .args(arguments)
            .env("DEDUP_ADMIN_LISTEN", "127.0.0.1:0")
            .env("DEDUP_DATA", self.folder().join(name))
            .env("DEDUP_KAFKA_PRIMARY", &self.brokers.primary.address)
            .env("DEDUP_KAFKA_SECONDARY", &self.brokers.secondary.address)
            .env("DEDUP_KAFKA_GROUP", &self.group)
            .env("DEDUP_KAFKA_SESSION_TIMEOUT_MS", "6000")
            .env("DEDUP_KAFKA_TRANSACTION_TIMEOUT_MS", "10000")
            .env("DEDUP_LOG_FORMAT", "text");
        command
    }

    /// As [`run_with`](Self::run_with), the way to the output being the proxy.
    pub(crate) fn run_behind_proxy(&self, name: &str, settings: &[(&str, &str)]) -> Worker {
        let output = self.brokers.proxy.address();
        let mut settings = settings.to_vec();
        settings.push(("DEDUP_KAFKA_OUTPUT", &output));
        self.run_with(name, &settings)
    }

    pub(crate) fn run(&self, name: &str) -> Worker {
        self.run_with(name, &[])
    }

    pub(crate) fn run_with(&self, name: &str, settings: &[(&str, &str)]) -> Worker {
        self.start(name, &["run"], settings)
    }

    /// One that leaves the group for good when it is stopped, so that no other one waits for a session.
    pub(crate) fn run_leaving(&self, name: &str, settings: &[(&str, &str)]) -> Worker {
        self.start(name, &["run", "--leave"], settings)
    }

    fn start(&self, name: &str, arguments: &[&str], settings: &[(&str, &str)]) -> Worker {
        let mut command = self.command(name, arguments);
        command.envs(settings.iter().copied());
        let number = self.started.get() + 1;
        self.started.set(number);
        Worker::start(command, &self.folder().join(format!("{name}.{number}.log")))
    }

    /// A worker refuses at least one lane for this reason, goes on, counts as ready all the same, and ends in good
    /// order.
    pub(crate) fn refuses(&self, name: &str, why: &str) {
        let worker = self.run_leaving(name, &[]);
        worker.wait_for_metric(REFUSED_BY_LOG, |count| count > 0);
        assert!(worker.log().contains(why), "{}", worker.log());
        let said = worker.wait_for_readiness(200);
        assert!(said.contains(why), "{said}");
        worker.stop();
    }

    /// A library that shifts the clock of a program that it is preloaded to by `CLOCK_SHIFT_SECONDS`.
    pub(crate) fn clock_shim(&self) -> String {
        self.shim("clock", include_str!("../../../tests/src/clock.c"))
    }

    /// A library under which no sealed run can be read while the file that `UNREADABLE_WHILE` names is there.
    pub(crate) fn unreadable_shim(&self) -> String {
        self.shim("unreadable", include_str!("unreadable.c"))
    }

    fn shim(&self, name: &str, text: &str) -> String {
        let (source, library) = (self.folder().join(format!("{name}.c")), self.folder().join(format!("{name}.so")));
        std::fs::write(&source, text).unwrap();
        let mut compile = Command::new("cc");
        compile.args(["-shared", "-fPIC", "-O1", "-o"]).arg(&library).arg(&source).arg("-ldl");
        assert!(compile.status().unwrap().success());
        library.display().to_string()
    }

    /// The members of a group of the output cluster.
    pub(crate) fn members(&self, group: &str) -> Vec<String> {
        let mut config = ClientConfig::new();
        let client: BaseConsumer = config.set("bootstrap.servers", &self.brokers.primary.address).create().unwrap();
        let groups = client.fetch_group_list(Some(group), Duration::from_secs(20)).unwrap();
        let members = groups.groups().iter().flat_map(rdkafka::groups::GroupInfo::members);
        members.map(|member| member.id().to_owned()).collect()
    }

    /// Runs a command to its end and gives what it printed, if it succeeded.
    pub(crate) fn ask(&self, name: &str, arguments: &[&str]) -> Result<String, String> {
        let output = self.command(name, arguments).output().unwrap();
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        if output.status.success() { Ok(text(&output.stdout)) } else { Err(text(&output.stderr)) }
    }
}

impl Drop for Scene {
    fn drop(&mut self) {
        let name = std::thread::current().name().unwrap_or_default().to_owned();
        println!("{name}: {:.1} s", self.begun.elapsed().as_secs_f64());
    }
}
