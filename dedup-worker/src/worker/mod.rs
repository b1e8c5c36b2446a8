//! The worker: which partitions it owns, and a thread for each.
//!
//! ```text
//!            group ── should own p ──▶ owner of p ─── fence ─ ask again ─ measure ─ restore ─ checkpoint ─┐
//!              ▲                                                                                          ▼
//!            poll, nothing else      input primary p ──┐                                  ┌── publisher: one
//!                                                      ├─▶ pump: gather ▶ decide N + 1 ───┤   transaction N
//!            watch: is it the same ─▶ input secondary p┘            ▲                     └──────┬──
//!            log, does it answer                                    └──── N is committed ────────┘
//! ```
//!
//! What a crash leaves at each step is the table on the crate's front page.

pub mod changelog;
pub mod clock;
pub mod fault;
pub mod figures;
pub mod input;
pub mod owner;
pub mod positions;
pub mod publish;
pub mod pump;
pub mod reading;
pub mod remaking;
pub mod restore;
pub mod waker;
pub mod watch;

use std::collections::BTreeMap;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use figures::Figures;
use kafka::{Group, Owners};
use owner::{Owner, Plan};
use service::Shutdown;
use tracing::{error, warn};
use waker::Waker;

/// How long the group waits for a partition to be let go. Whoever is slower is fenced by the next owner.
const LETTING_GO: Duration = Duration::from_secs(10);

/// A worker at work.
pub struct Worker {
    table: Arc<Table>,
    group: Group<Table>,
    stop_group: Shutdown,
    polling: Option<JoinHandle<()>>,
}

/// Who the partitions that this worker should own are with.
struct Table {
    plan: Plan,
    figures: Arc<Figures>,
    owners: Mutex<BTreeMap<u32, Running>>,
    /// Set once, right after the group was joined; before that nothing is assigned.
    group: OnceLock<Box<dyn Fn(u32) -> bool + Send + Sync>>,
    myself: Weak<Self>,
    /// Given when a partition is refused: the process is to stop.
    refused: Shutdown,
    reason: Mutex<Option<String>>,
}

struct Running {
    stop: Shutdown,
    waker: Waker,
    thread: Option<JoinHandle<()>>,
    /// Given when the thread has let go.
    is_done: Shutdown,
    is_owned: bool,
}

impl Worker {
    /// Joins the group and works on what it gives. `refused` is given when somebody has to decide something.
    ///
    /// # Errors
    /// Where librdkafka does not take a cluster's properties, or the operating system refuses a thread.
    pub fn start(
        plan: Plan,
        group: &str,
        session_timeout: Duration,
        figures: Arc<Figures>,
        refused: Shutdown,
    ) -> Result<Self, String> {
        let output = plan.output.clone();
        let table = Arc::new_cyclic(|myself| Table {
            plan,
            figures,
            owners: Mutex::default(),
            group: OnceLock::new(),
            myself: myself.clone(),
            refused,
            reason: Mutex::default(),
        });
        let group = Group::join(&output, group, session_timeout, Arc::clone(&table)).map_err(|e| e.to_string())?;
        let asked = group.clone();
        let _ = table.group.set(Box::new(move |partition| asked.confirms(partition)));
        let stop_group = Shutdown::new();
        let (polled, stop) = (group.clone(), stop_group.clone());
        let polling = thread::Builder::new().name("group".into()).spawn(move || polled.run(&stop));
        let polling = Some(polling.map_err(|error| error.to_string())?);
        Ok(Self { table, group, stop_group, polling })
    }

    /// Lets every partition go in good order and leaves the group.
    ///
    /// # Errors
    /// The reason for which a partition was refused, if one was.
    pub fn stop(mut self) -> Result<(), String> {
        self.stop_group.trigger();
        if let Some(polling) = self.polling.take() {
            let _ = polling.join();
        }
        let mut running: Vec<Running> = std::mem::take(&mut *lock(&self.table.owners)).into_values().collect();
        running.iter().for_each(Running::let_go);
        for thread in running.iter_mut().filter_map(|running| running.thread.take()) {
            let _ = thread.join();
        }
        self.group.leave();
        lock(&self.table.reason).take().map_or(Ok(()), Err)
    }
}

impl std::fmt::Debug for Worker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Worker").finish_non_exhaustive()
    }
}

impl Running {
    fn let_go(&self) {
        self.stop.trigger();
        self.waker.wake();
    }
}

impl Table {
    fn take(&self, partition: u32) {
        let Some(table) = self.myself.upgrade() else { return };
        let (stop, is_done, waker) = (Shutdown::new(), Shutdown::new(), Waker::default());
        let mut owners = lock(&self.owners);
        // One that was too slow to let go may still be at work here; the new one waits for it.
        let before = owners.remove(&partition).and_then(|mut running| {
            running.let_go();
            running.thread.take()
        });
        let (stopped, done, woken) = (stop.clone(), is_done.clone(), waker.clone());
        let thread = thread::Builder::new().name(format!("partition-{partition}")).spawn(move || {
            if let Some(before) = before {
                let _ = before.join();
            }
            // A thread that only ended would leave the partition to nobody: the group goes on believing in this worker.
            if catch_unwind(AssertUnwindSafe(|| table.work(partition, &stopped, woken))).is_err() {
                table.refuse(format!("partition {partition}: a bug in this program; what it said stands above"));
            }
            done.trigger();
        });
        match thread {
            Ok(thread) => {
                owners.insert(partition, Running { stop, waker, thread: Some(thread), is_done, is_owned: true });
            }
            Err(error) => self.refuse(format!("no thread for partition {partition}: {error}")),
        }
    }

    fn work(&self, partition: u32, stop: &Shutdown, waker: Waker) {
        let figures = self.figures.enter(partition);
        let confirms = || self.group.get().is_some_and(|group| group(partition));
        let owner = Owner { plan: &self.plan, partition, confirms: &confirms, stop, waker, figures: &figures };
        if let Err(reason) = owner.run() {
            self.refuse(reason);
        }
        self.figures.leave(partition);
    }

    fn refuse(&self, reason: String) {
        error!(reason, "this worker stops");
        lock(&self.reason).get_or_insert(reason);
        self.refused.trigger();
    }
}

impl Owners for Table {
    fn assigned(&self, partitions: &[u32]) {
        for partition in partitions {
            self.take(*partition);
        }
    }

    fn revoked(&self, partitions: &[u32]) {
        for partition in partitions {
            if let Some(running) = lock(&self.owners).get_mut(partition) {
                running.is_owned = false;
                running.let_go();
            }
        }
        let deadline = Instant::now() + LETTING_GO;
        for partition in partitions {
            let is_done = lock(&self.owners).get(partition).map(|running| running.is_done.clone());
            let left = deadline.saturating_duration_since(Instant::now());
            if is_done.is_some_and(|is_done| !is_done.wait_timeout(left)) {
                warn!(partition, "the partition was not let go in time; its next owner's fence ends it");
                return;
            }
        }
        for partition in partitions {
            lock(&self.owners).remove(partition);
        }
    }

    fn owns(&self, partition: u32) -> bool {
        lock(&self.owners).get(&partition).is_some_and(|running| running.is_owned)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
