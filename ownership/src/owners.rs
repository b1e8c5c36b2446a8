//! Which lanes this process owns, and a thread for each.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError, Weak};
use std::thread::{self, JoinHandle};
use std::time::{Duration, Instant};

use kafka::{Group, Owners as Members};
use service::Shutdown;
use tracing::{error, warn};

use crate::board::Board;
use crate::owner::Owner;
use crate::{Spec, Standing, Waker, Work};

/// How long lanes may take to be let go when the process ends. What is still open then is undone by the next owner's fence,
/// as after a kill.
const LETTING_GO: Duration = Duration::from_secs(8);

/// Makes the work of a lane; the waker ends a wait of its loop.
pub type Make<W> = Box<dyn Fn(u32, Waker) -> W + Send + Sync>;

/// The lanes of one kind that this process owns.
pub struct Owners<W: Work> {
    table: Arc<Table<W>>,
    group: Group<Table<W>>,
    stop_group: Shutdown,
    polling: Option<JoinHandle<()>>,
}

struct Table<W: Work> {
    spec: &'static Spec,
    make: Make<W>,
    board: Arc<Board>,
    running: Mutex<BTreeMap<u32, Running>>,
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

impl<W: Work> Owners<W> {
    /// Joins the group and works on what it gives.
    ///
    /// # Errors
    /// Where librdkafka does not take the cluster's properties, or the operating system refuses a thread.
    pub fn start(spec: &'static Spec, board: Arc<Board>, make: Make<W>) -> Result<Self, String> {
        let table = Arc::new_cyclic(|myself| Table {
            spec,
            make,
            board,
            running: Mutex::default(),
            group: OnceLock::new(),
            myself: myself.clone(),
        });
        let Spec { cluster, group, session, .. } = spec;
        let group = Group::join(cluster, group, *session, Arc::clone(&table)).map_err(|error| error.to_string())?;
        let asked = group.clone();
        let _ = table.group.set(Box::new(move |lane| asked.confirms(lane)));
        let stop_group = Shutdown::new();
        let (polled, stop) = (group.clone(), stop_group.clone());
        let polling = thread::Builder::new().name("group".into()).spawn(move || polled.run(&stop));
        let polling = Some(polling.map_err(|error| error.to_string())?);
        Ok(Self { table, group, stop_group, polling })
    }

    /// Lets every lane go in good order and leaves the group. Lanes that are not let go in time, above all because the log's
    /// cluster does not answer, are left as a kill leaves them, and said.
    pub fn stop(mut self) {
        self.stop_group.trigger();
        if let Some(polling) = self.polling.take() {
            let _ = polling.join();
        }
        let running = std::mem::take(&mut *lock(&self.table.running));
        running.values().for_each(Running::let_go);
        let deadline = Instant::now() + LETTING_GO;
        let mut late = Vec::new();
        for (lane, Running { thread, is_done, .. }) in running {
            if !is_done.wait_timeout(deadline.saturating_duration_since(Instant::now())) {
                late.push(lane);
            } else if let Some(thread) = thread {
                let _ = thread.join();
            }
        }
        if !late.is_empty() {
            warn!(lanes = ?late, "not let go in time; their next owner's fence undoes what is open, and nothing is lost");
        }
        self.group.leave();
    }
}

impl<W: Work> std::fmt::Debug for Owners<W> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Owners").finish_non_exhaustive()
    }
}

impl Running {
    fn let_go(&self) {
        self.stop.trigger();
        self.waker.wake();
    }
}

impl<W: Work> Table<W> {
    fn take(&self, lane: u32) {
        let Some(table) = self.myself.upgrade() else { return };
        let (stop, is_done, (waker, woken)) = (Shutdown::new(), Shutdown::new(), Waker::new());
        let mut running = lock(&self.running);
        // One that was too slow to let go may still be at work here; the new one waits for it.
        let before = running.remove(&lane).and_then(|mut running| {
            running.let_go();
            running.thread.take()
        });
        let (stopped, done, wake) = (stop.clone(), is_done.clone(), waker.clone());
        let work = move || {
            if let Some(before) = before {
                let _ = before.join();
            }
            let place = table.board.enter(lane);
            let confirms = || table.group.get().is_some_and(|group| group(lane));
            let is_stopped = || stopped.is_triggered();
            Owner {
                spec: table.spec,
                lane,
                work: (table.make)(lane, wake),
                confirms: &confirms,
                stop: &stopped,
                is_stopped: &is_stopped,
                woken,
                place,
                committed: 0,
                state: None,
            }
            .run();
            done.trigger();
        };
        match thread::Builder::new().name(format!("lane-{lane}")).spawn(work) {
            Ok(thread) => {
                running.insert(lane, Running { stop, waker, thread: Some(thread), is_done, is_owned: true });
            }
            Err(error) => {
                error!(lane, %error, "no thread for the lane; restart this process");
                let place = self.board.enter(lane);
                place.is(Standing::RefusedHere(format!("no thread: {error}; restart this process")));
                // It stays on the board.
                std::mem::forget(place);
            }
        }
    }
}

impl<W: Work> Members for Table<W> {
    fn assigned(&self, lanes: &[u32]) {
        self.board.is_in_group();
        for lane in lanes {
            self.take(*lane);
        }
    }

    fn revoked(&self, lanes: &[u32]) {
        let mut running = lock(&self.running);
        for lane in lanes {
            if let Some(running) = running.get_mut(lane) {
                running.is_owned = false;
                running.let_go();
            }
        }
    }

    fn owns(&self, lane: u32) -> bool {
        lock(&self.running).get(&lane).is_some_and(|running| running.is_owned)
    }

    fn shut_out(&self, why: &str) {
        if self.board.is_shut_out(why) {
            error!(why, "the group does not take this process in");
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
