//! The copier as a process of its own, so that it can be killed: this test program started once more, with the one test that
//! is none.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::Duration;
use std::{env, fs::File, thread};

use changelog::Beginning;
use kafka::Cluster;
use ownership::{Board, Owners, Spec, Step};
use service::{Properties, crash};

use super::brokers::die_with_parent;
use super::copier::Copier;

const FOLDER: &str = "COPIER_FOLDER";
const BROKER: &str = "COPIER_BROKER";
const GROUP: &str = "COPIER_GROUP";
const CRASH_AT: &str = "COPIER_CRASH_AT";

/// Starts a copier.
pub(crate) fn start(folder: &Path, broker: &str, group: &str, crash_at: &str) -> Child {
    let log = File::options().create(true).append(true).open(folder.join("copier.log")).unwrap();
    let mut command = Command::new(env::current_exe().unwrap());
    command
        .args(["process::a_copier_of_its_own", "--exact", "--nocapture"])
        .env(FOLDER, folder)
        .env(BROKER, broker)
        .env(GROUP, group)
        .env(CRASH_AT, crash_at)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log);
    if crash_at.is_empty() {
        command.env_remove(CRASH_AT);
    }
    die_with_parent(&mut command);
    command.spawn().unwrap()
}

fn at(step: Step) {
    crash::at(step.name());
}

/// No test, but the process that tests start and kill.
#[test]
fn a_copier_of_its_own() {
    let Some(folder) = env::var_os(FOLDER).map(PathBuf::from) else { return };
    crash::arm(CRASH_AT, &Step::ALL.map(Step::name)).unwrap();
    let cluster = Cluster::new("copier", "primary", env::var(BROKER).unwrap(), Properties::default());
    let spec = Spec {
        cluster: cluster.clone(),
        log: c"events.index",
        topic: "events.index",
        fence: "copier",
        group: env::var(GROUP).unwrap(),
        session: Duration::from_secs(6),
        transaction_max: Duration::from_secs(10),
        data: folder.clone(),
        folder: "copied",
        beginning: Beginning::MustBeThere,
        lane_of: wire::changelog::lane_of,
        remedy: "make it again",
        remedy_beginning: "go on without",
        is_shadow: false,
        at,
    };
    let make = move |lane, waker| Copier::new(&cluster, &folder, lane, waker);
    let owners = Owners::start(Box::leak(Box::new(spec)), Arc::new(Board::default()), Box::new(make)).unwrap();
    // Until it is killed.
    loop {
        thread::park();
        let _ = &owners;
    }
}
