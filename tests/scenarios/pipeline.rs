//! Goal: what `make kafka` starts, and every program as it is, make the whole system without a word of configuration but
//! where the clusters are; two workers of one folder and one host come to terms.
//! Fault: none but the repeats that the load sends.
//! Oracle: `loadtest verify --output kafka://…/events.deduped`.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use tests::load::{self, Load};
use tests::metrics::Metrics;
use tests::{LANES, Program, Scene, chaos, http, nothing_waits, wait};
use wire::topic::EVENTS_DEDUPED;

/// A start of a program, and what two workers take to share the lanes.
const LIMIT: Duration = Duration::from_mins(2);
/// Once nothing waits to be read, only what must not come could still come.
const SETTLE: Duration = Duration::from_secs(1);

#[test]
fn two_workers_write_each_event_once_as_make_kafka_leaves_things() {
    let scene = Scene::begin();
    let pair = Pair::start(&scene);
    let (ingest, admin) = (tests::free_address(), tests::free_address());
    let (rate, seconds) = if chaos() { (20_000, 30) } else { (5_000, 4) };
    let clusters = |prefix: &str| {
        let variable = |name: &str| format!("{prefix}_KAFKA_{name}");
        [(variable("PRIMARY"), pair.primary.to_string()), (variable("SECONDARY"), pair.secondary.to_string())]
    };
    let listen = [("TAPI_LISTEN", ingest), ("TAPI_ADMIN_LISTEN", admin)];
    let listen = listen.map(|(variable, address)| (variable.to_owned(), address.to_string()));
    let _tapi = run(&scene, "tapi", "tapi", clusters("TAPI").into_iter().chain(listen));
    let workers = ["first", "second"].map(|log| run(&scene, "dedup-worker", log, clusters("DEDUP")));
    let folders = ["data/dedup", "data/dedup-2"].map(|folder| scene.folder().join(folder).join("lock").exists());
    assert_eq!(folders, [true; 2], "each worker has a folder of its own");
    let load = Load::new(&scene, 0, rate, Duration::from_secs(seconds)).option("--duplicates", 0.05);
    load.start_at(ingest).succeed(LIMIT);
    let backlog = || Metrics::parse(&http::get(admin, "/metrics").ok()?.text()).sum("local_buffer_backlog_records");
    wait::until("the buffer drains", LIMIT, || (backlog()? == 0.0).then_some(()));
    let status = || {
        let mut command = Program::command("dedup-worker");
        let output = command.arg("status").current_dir(scene.folder()).envs(clusters("DEDUP")).output().ok()?;
        nothing_waits(&String::from_utf8_lossy(&output.stdout), LANES).then_some(())
    };
    wait::until("the workers read all that waits", LIMIT, status);
    let output = format!("kafka://{}/{EVENTS_DEDUPED}", pair.primary);
    let verdict = load::verify_at(&scene, &[admin], &["--output", &output], SETTLE, &[load], 0.0);
    scene.say(format_args!("{rate} events/s for {seconds} s through two workers: {verdict}"));
    drop(workers);
    pair.script("clean");
    assert!(!pair.folder.join("primary").exists(), "nothing is left of the clusters");
}

/// What `make kafka` runs, in a folder and on ports of its own. It would outlive the scenario.
struct Pair {
    folder: PathBuf,
    primary: SocketAddr,
    secondary: SocketAddr,
}

impl Pair {
    fn start(scene: &Scene) -> Self {
        let [primary, secondary] = [0; 2].map(|_| tests::free_address());
        let pair = Self { folder: scene.folder().join("kafka"), primary, secondary };
        pair.script("start");
        // Once more, as somebody does who does not know that it runs.
        let said = pair.script("start");
        assert_eq!(said.matches("runs already").count(), 2, "{said}");
        pair
    }

    fn script(&self, verb: &str) -> String {
        let path = Path::new(env!("CARGO_MANIFEST_DIR")).parent().expect("the workspace").join("scripts/kafka/pair");
        let output = Command::new(path)
            .arg(verb)
            .env("KAFKA_PAIR_DIR", &self.folder)
            .env("KAFKA_PRIMARY_PORT", self.primary.port().to_string())
            .env("KAFKA_SECONDARY_PORT", self.secondary.port().to_string())
            .output()
            .expect("the script can be started");
        let said = String::from_utf8_lossy(&[output.stdout, output.stderr].concat()).into_owned();
        assert!(output.status.success(), "{said}");
        said
    }
}

impl Drop for Pair {
    fn drop(&mut self) {
        if std::thread::panicking() {
            // A second panic would hide the first.
            let _ = std::panic::catch_unwind(|| self.script("stop"));
        } else {
            self.script("stop");
        }
    }
}

/// A program in the scene's folder with nothing but these settings, until it says that it is ready.
fn run(scene: &Scene, name: &str, log: &str, settings: impl IntoIterator<Item = (String, String)>) -> Program {
    let mut command = Program::command(name);
    command.arg("run").current_dir(scene.folder()).envs(settings);
    let program = Program::start(command, &scene.folder().join(format!("{log}.log")));
    let ready = format!("{name} ready ");
    wait::until(&ready, LIMIT, || program.printed().lines().any(|line| line.starts_with(&ready)).then_some(()));
    program
}
