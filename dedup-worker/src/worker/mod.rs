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
pub mod cursor;
pub mod decode;
pub mod fault;
pub mod figures;
pub mod held;
pub mod input;
pub mod inputs;
pub mod output;
pub mod owner;
pub mod publish;
pub mod pump;
pub mod readers;
pub mod time;
pub(crate) mod topics;
pub mod waiting;
pub mod waker;
pub mod watch;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use figures::{Figures, State};
use kafka::{Group, Owners};
use owner::{Owner, Plan};
use service::Shutdown;
use tracing::{error, warn};
use waker::Waker;

/// How long partitions may take to be let go when the process ends. What is still open then is undone by the next owner's
/// fence, as after a kill.
const LETTING_GO: Duration = Duration::from_secs(8);

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
    /// Joins the group and works on what it gives.
    ///
    /// # Errors
    /// Where librdkafka does not take a cluster's properties, or the operating system refuses a thread.
    pub fn start(plan: Plan, group: &str, session_timeout: Duration, figures: Arc<Figures>) -> Result<Self, String> {
        let output = plan.output.clone();
        let table = Arc::new_cyclic(|myself| Table {
            plan,
            figures,
            owners: Mutex::default(),
            group: OnceLock::new(),
            myself: myself.clone(),
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

    /// Lets every partition go in good order and leaves the group. Partitions that are not let go in time, above all
    /// because the output does not answer, are left as a kill leaves them, and said.
    pub fn stop(mut self) {
        self.stop_group.trigger();
        if let Some(polling) = self.polling.take() {
            let _ = polling.join();
        }
        let running = std::mem::take(&mut *lock(&self.table.owners));
        running.values().for_each(Running::let_go);
        let deadline = Instant::now() + LETTING_GO;
        let mut late = Vec::new();
        for (partition, Running { thread, is_done, .. }) in running {
            if !is_done.wait_timeout(deadline.saturating_duration_since(Instant::now())) {
                late.push(partition);
            } else if let Some(thread) = thread {
                let _ = thread.join();
            }
        }
        if !late.is_empty() {
            warn!(partitions = ?late, "not let go in time; their next owner's fence undoes what is open, and nothing is lost");
        }
        self.group.leave();
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
        let work = move || {
            if let Some(before) = before {
                let _ = before.join();
            }
            table.work(partition, &stopped, woken);
            done.trigger();
        };
        match thread::Builder::new().name(format!("partition-{partition}")).spawn(work) {
            Ok(thread) => {
                owners.insert(partition, Running { stop, waker, thread: Some(thread), is_done, is_owned: true });
            }
            Err(error) => {
                error!(partition, %error, "no thread for the partition; restart this worker");
                let why = format!("no thread: {error}; restart this worker");
                self.figures.enter(partition).state_is(State::RefusedHere(why));
            }
        }
    }

    fn work(&self, partition: u32, stop: &Shutdown, waker: Waker) {
        let figures = self.figures.enter(partition);
        let confirms = || self.group.get().is_some_and(|group| group(partition));
        let is_stopped = || stop.is_triggered();
        let (plan, confirms, is_stopped) = (&self.plan, &confirms, &is_stopped);
        Owner { plan, partition, confirms, stop, is_stopped, waker, figures: &figures }.run();
        self.figures.leave(partition);
    }
}

impl Owners for Table {
    fn assigned(&self, partitions: &[u32]) {
        self.figures.is_in_group();
        for partition in partitions {
            self.take(*partition);
        }
    }

    fn revoked(&self, partitions: &[u32]) {
        let mut owners = lock(&self.owners);
        for partition in partitions {
            if let Some(running) = owners.get_mut(partition) {
                running.is_owned = false;
                running.let_go();
            }
        }
    }

    fn shut_out(&self, why: &str) {
        if self.figures.is_shut_out(why) {
            error!(why, "the group does not take this worker in");
        }
    }

    fn owns(&self, partition: u32) -> bool {
        lock(&self.owners).get(&partition).is_some_and(|running| running.is_owned)
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
