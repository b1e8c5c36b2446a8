//! The copier as a process of its own, so that it can be killed: this test program started once more, with the one test that
//! is none.

use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};
use std::{env, fs, fs::File, thread};

use changelog::Beginning;
use kafka::Cluster;
use ownership::{Board, Budget, Owners, Spec, Step, member_id};
use rustix::process::{Pid, Signal, kill_process};
use service::logging::{self, Format, Logging};
use service::{Properties, Shutdown, crash};

use super::brokers::die_with_parent;
use super::copier::Copier;

const COPIES: &str = "COPIER_COPIES";
const FOLDER: &str = "COPIER_FOLDER";
const BROKER: &str = "COPIER_BROKER";
const GROUP: &str = "COPIER_GROUP";
const SESSION_MS: &str = "COPIER_SESSION_MS";
const LEAVE: &str = "COPIER_LEAVE";
const CRASH_AT: &str = "COPIER_CRASH_AT";

/// How long anything that ends by itself may take on a busy machine.
const LIMIT: Duration = Duration::from_mins(1);

/// How to start one.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Start<'s> {
    /// Its folder, and so its id in the group.
    pub(crate) name: &'s str,
    /// Empty is the scene's own.
    pub(crate) group: &'s str,
    pub(crate) session: Duration,
    /// Whether it leaves the group for good when it is stopped.
    pub(crate) leaves: bool,
    /// A step and a pass at which it dies; empty is none.
    pub(crate) crash_at: &'s str,
}

impl Default for Start<'_> {
    fn default() -> Self {
        Self { name: "one", group: "", session: Duration::from_secs(6), leaves: false, crash_at: "" }
    }
}

/// A copier that runs.
pub(crate) struct Process {
    child: Child,
    log: PathBuf,
}

impl Process {
    /// Starts one whose copies are in the folder `copies`.
    pub(crate) fn start(copies: &Path, broker: &str, number: u32, start: Start<'_>) -> Self {
        let Start { name, group, session, leaves, crash_at } = start;
        let folder = copies.join(name);
        fs::create_dir_all(&folder).unwrap();
        let log = copies.join(format!("{number}-{name}.log"));
        let file = File::create(&log).unwrap();
        let mut command = Command::new(env::current_exe().unwrap());
        command
            .args(["process::a_copier_of_its_own", "--exact", "--nocapture"])
            .env(COPIES, copies)
            .env(FOLDER, folder)
            .env(BROKER, broker)
            .env(GROUP, group)
            .env(SESSION_MS, session.as_millis().to_string())
            .stdin(Stdio::null())
            .stdout(file.try_clone().unwrap())
            .stderr(file);
        if leaves {
            command.env(LEAVE, "1");
        }
        if !crash_at.is_empty() {
            command.env(CRASH_AT, crash_at);
        }
        die_with_parent(&mut command);
        Self { child: command.spawn().unwrap(), log }
    }

    pub(crate) fn log(&self) -> String {
        fs::read_to_string(&self.log).unwrap_or_default()
    }

    /// How often the log says this.
    pub(crate) fn said(&self, text: &str) -> usize {
        self.log().matches(text).count()
    }

    /// Waits until the log says this so often.
    pub(crate) fn wait_until_said(&self, text: &str, count: usize) {
        let begun = Instant::now();
        while self.said(text) < count {
            assert!(begun.elapsed() < LIMIT, "it does not say {text:?} {count} times\n{}", self.log());
            thread::sleep(Duration::from_millis(20));
        }
    }

    pub(crate) fn kill(&mut self) {
        self.child.kill().unwrap();
        self.child.wait().unwrap();
    }

    /// SIGTERM.
    pub(crate) fn terminate(&self) {
        kill_process(Pid::from_child(&self.child), Signal::TERM).unwrap();
    }

    /// SIGTERM, and it ends in good order.
    pub(crate) fn stop(&mut self) {
        self.terminate();
        self.ends_well();
    }

    /// Waits for it to end in good order.
    pub(crate) fn ends_well(&mut self) {
        self.wait();
        let status = self.child.wait().unwrap();
        assert!(status.success(), "{status}\n{}", self.log());
    }

    /// Waits for it to end.
    pub(crate) fn wait(&mut self) {
        let begun = Instant::now();
        while self.child.try_wait().unwrap().is_none() {
            assert!(begun.elapsed() < LIMIT, "it still runs\n{}", self.log());
            thread::sleep(Duration::from_millis(10));
        }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
        if thread::panicking() {
            eprintln!("--- {}\n{}", self.log.display(), self.log());
        }
    }
}

fn at(step: Step) {
    crash::at(step.name());
}

/// No test, but the process that tests start, stop and kill.
#[test]
fn a_copier_of_its_own() {
    let Some(folder) = env::var_os(FOLDER).map(PathBuf::from) else { return };
    logging::init(&Logging { format: Format::Text, ..Logging::default() });
    crash::arm(CRASH_AT, &Step::ALL.map(Step::name)).unwrap();
    let (stop, for_good) = (Shutdown::new(), Shutdown::new());
    stop.on_process_signals_twice(&for_good, ["told to stop", "told to leave"], || ()).unwrap();
    if env::var_os(LEAVE).is_some() {
        for_good.trigger();
    }
    let cluster = Cluster::new("copier", "primary", env::var(BROKER).unwrap(), Properties::default());
    let spec = Spec {
        cluster: cluster.clone(),
        log: c"events.index",
        topic: "events.index",
        outputs: &[],
        fence: "copier",
        group: env::var(GROUP).unwrap(),
        member: Some(member_id(&folder).unwrap()),
        session: Duration::from_millis(env::var(SESSION_MS).unwrap().parse().unwrap()),
        transaction_max: Duration::from_secs(10),
        data: folder.clone(),
        folder: "copied",
        beginning: Beginning::MustBeThere,
        lane_of: wire::changelog::lane_of,
        remedy: "make it again",
        remedy_beginning: "go on without",
        memory: Budget::new(64 << 20),
        is_shadow: false,
        at,
    };
    let copies = PathBuf::from(env::var_os(COPIES).unwrap());
    let make = move |lane, waker| Copier::new(&cluster, &copies, &folder, lane, waker);
    let owners = Owners::start(Box::leak(Box::new(spec)), Arc::new(Board::default()), make).unwrap();
    stop.wait();
    owners.stop(&for_good);
}
