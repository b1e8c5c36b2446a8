//! Load and its judge: the real `loadtest`.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;
use std::{fmt, fs};

use serde_json::Value;

use crate::{Program, Scene, Turnstile, wait};

/// Longest wait for the client to find its server; on a busy machine.
const BEGIN_LIMIT: Duration = Duration::from_mins(1);
/// What `verify` may take, beyond which it fails by itself.
const VERIFY_LIMIT: Duration = Duration::from_mins(5);
/// What comes out of one process comes without pauses.
const SETTLE: Duration = Duration::from_millis(500);

/// One run of `loadtest run`, described before it is started.
#[derive(Debug, Clone)]
pub struct Load {
    folder: PathBuf,
    seed: u64,
    duration: Duration,
    options: Vec<String>,
}

impl Load {
    /// Run number `n` of a scenario: `rate` events a second (or `max`) for `duration`.
    #[expect(clippy::needless_pass_by_value, reason = "numbers and texts are written where they are set")]
    pub fn new(scene: &Scene, n: u64, rate: impl ToString, duration: Duration) -> Self {
        let options = vec!["--rate".to_owned(), rate.to_string()];
        let folder = scene.folder().join(format!("load-{n}"));
        Self { folder, seed: scene.load_seed(n), duration, options }
    }

    /// The same events once more, noted in a ledger of its own.
    #[must_use]
    pub fn again(&self, name: &str) -> Self {
        Self { folder: self.folder.with_file_name(name), ..self.clone() }
    }

    /// Adds an option and its value.
    #[expect(clippy::needless_pass_by_value, reason = "numbers and texts are written where they are set")]
    #[must_use]
    pub fn option(mut self, name: &str, value: impl ToString) -> Self {
        self.options.extend([name.to_owned(), value.to_string()]);
        self
    }

    /// Requests that get no answer, or one that says "later", are sent again for this long.
    #[must_use]
    pub fn retrying(self, limit: Duration) -> Self {
        self.option("--retry-for", seconds(limit))
    }

    /// How long it sends.
    pub fn duration(&self) -> Duration {
        self.duration
    }

    /// Where its ledger is.
    pub fn ledger(&self) -> PathBuf {
        self.folder.join("ledger")
    }

    /// Starts it, and waits until it is under way: a scenario may kill the server from here on.
    ///
    /// # Panics
    /// Where it cannot be started.
    pub fn start(&self, server: &Turnstile) -> Program {
        self.start_at(server.ingest)
    }

    /// The same against any server.
    ///
    /// # Panics
    /// Where it cannot be started.
    pub fn start_at(&self, ingest: SocketAddr) -> Program {
        fs::create_dir_all(&self.folder).expect("a folder for the load");
        let mut command = Program::command("loadtest");
        command
            .args(["run", "--target", &format!("http://{ingest}")])
            .args(["--seed", &self.seed.to_string(), "--duration", &seconds(self.duration)])
            .args(&self.options)
            .arg("--ledger")
            .arg(self.ledger())
            .arg("--json")
            .arg(self.report_path());
        let mut client = Program::start(command, &self.folder.join("run.log"));
        // It looks once whether anything answers, and begins its ledger after that. One that ended says why later.
        let ledger = self.ledger().join("run.json");
        wait::until("the client finds its server", BEGIN_LIMIT, || {
            (ledger.exists() || client.ended().is_some()).then_some(())
        });
        client
    }

    /// Runs it to its end.
    ///
    /// # Panics
    /// Where it fails, or takes much longer than it should.
    pub fn run(&self, server: &Turnstile) -> Value {
        self.start(server).succeed(self.duration * 2 + Duration::from_mins(2));
        self.report()
    }

    /// What it reported.
    ///
    /// # Panics
    /// Where it has not ended well.
    pub fn report(&self) -> Value {
        let path = self.report_path();
        let text = fs::read_to_string(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()));
        serde_json::from_str(&text).expect("loadtest's report is JSON")
    }

    /// How its requests went: latency, and what was not acknowledged at its first sending.
    ///
    /// # Panics
    /// Where it has not ended well.
    pub fn answers(&self) -> Answers {
        let report = self.report();
        let number = |group: &str, name: &str| {
            report[group][name].as_f64().unwrap_or_else(|| panic!("no {group}.{name} in {report}"))
        };
        let count = |name: &str| number("requests", name) as u64;
        Answers {
            p50_ms: number("latency", "p50_ms"),
            p99_ms: number("latency", "p99_ms"),
            max_ms: number("latency", "max_ms"),
            bad: count("total") - count("acknowledged") + count("retries"),
            not_started: count("not_started"),
        }
    }

    fn report_path(&self) -> PathBuf {
        self.folder.join("report.json")
    }
}

/// How the requests of a run went.
#[derive(Debug, Clone, Copy)]
pub struct Answers {
    /// Half of the answers came within, milliseconds after their requests were due.
    pub p50_ms: f64,
    /// 99 of 100.
    pub p99_ms: f64,
    /// All.
    pub max_ms: f64,
    /// Requests that were not acknowledged, and sendings beyond the first.
    pub bad: u64,
    /// Requests that fell due and were never sent, because somebody was too slow.
    pub not_started: u64,
}

impl fmt::Display for Answers {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { p50_ms, p99_ms, max_ms, bad, not_started } = self;
        write!(out, "p50 {p50_ms:.2}, p99 {p99_ms:.2}, max {max_ms:.1} ms, {bad} bad, {not_started} not sent")
    }
}

/// What `loadtest verify` counted when it passed.
#[derive(Debug, Clone, Copy)]
pub struct Verdict {
    /// Different events that had to come out, and did, once.
    pub events: u64,
    /// Acknowledged requests.
    pub acknowledged: u64,
    /// All requests.
    pub requests: u64,
    /// Lines of output.
    pub lines: u64,
}

impl fmt::Display for Verdict {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { events, acknowledged, requests, lines } = self;
        write!(
            out,
            "{acknowledged} of {requests} requests acknowledged, their {events} events out once, {lines} lines, none lost, doubled or foreign"
        )
    }
}

/// Runs `loadtest verify` over all of `loads` and demands its verdict: each acknowledged event came out exactly once,
/// its payload unchanged, and nothing else did. `unanswered_max` is the share of requests that may have had no answer.
///
/// # Panics
/// On any other verdict.
pub fn verify(scene: &Scene, server: &Turnstile, loads: &[Load], unanswered_max: f64) -> Verdict {
    let output = server.deduped();
    verify_at(scene, &[server.admin], &["--output", &output.to_string_lossy()], SETTLE, loads, unanswered_max)
}

/// The same for any servers by their admin ports, and any output; `words` are further words of the command, the output
/// among them. Backlogs and output have to be at rest for `settle`.
///
/// # Panics
/// As [`verify`].
pub fn verify_at(
    scene: &Scene,
    admins: &[SocketAddr],
    words: &[&str],
    settle: Duration,
    loads: &[Load],
    unanswered_max: f64,
) -> Verdict {
    let report = scene.folder().join("verify.json");
    let mut command: Command = Program::command("loadtest");
    command.args(["verify", "--strict"]).args(words);
    for load in loads {
        command.arg("--ledger").arg(load.ledger());
    }
    for admin in admins {
        command.args(["--admin", &format!("http://{admin}")]);
    }
    command.args(["--settle", &seconds(settle), "--timeout", "120s"]);
    command.args(["--unanswered-max", &unanswered_max.to_string()]);
    command.arg("--json").arg(&report);
    Program::start(command, &scene.folder().join("verify.log")).succeed(VERIFY_LIMIT);
    let report: Value = serde_json::from_slice(&fs::read(report).expect("verify's report")).expect("JSON");
    assert_eq!(report["passed"], true, "exit code 0 without a pass: {report}");
    let count =
        |group: &str, name: &str| report[group][name].as_u64().unwrap_or_else(|| panic!("{group}.{name} in {report}"));
    Verdict {
        events: count("events", "must"),
        acknowledged: count("requests", "acknowledged"),
        requests: count("requests", "requests"),
        lines: count("output", "lines"),
    }
}

fn seconds(duration: Duration) -> String {
    format!("{}ms", duration.as_millis())
}
