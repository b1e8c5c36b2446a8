//! One sending thread: its share of the requests, its connections, its ledger file.
//!
//! Thread `t` of `T` sends the requests whose number leaves `t` when divided by `T`, in order, so that threads share
//! nothing on the way. A dispatcher releases one permit for each request as it falls due, on time whatever the
//! connections do; a free connection takes a permit and the next request. Nothing is allocated for a request once the
//! buffers have grown.

use std::cell::{Cell, RefCell};
use std::rc::Rc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use tokio::sync::Semaphore;
use tokio::task::LocalSet;

use super::connection::Connection;
use super::pace::Pace;
use super::stats::Stats;
use super::{Rate, Settings};
use crate::Error;
use crate::events::Events;
use crate::ledger::{self, Entry};
use crate::mix::{About, mix};
use crate::request::{RequestWriter, Size};
use crate::retry::{Attempts, Next, Outcome};

/// How often counters and outcomes are handed over.
const HAND_OVER_EVERY: Duration = Duration::from_millis(100);
/// Shortest time between two looks at the schedule. Waking for each of 50,000 requests a second took a whole core, which
/// the server may need; the wait of a request that fell due in between is part of its latency.
const GRAIN: Duration = Duration::from_micros(100);

/// What the threads and the one that watches them share.
pub(super) struct Shared {
    /// Start no further request, retry none.
    pub(super) stop: AtomicBool,
    /// Counters since the watcher last took them.
    pub(super) recent: Mutex<Stats>,
    /// Why a thread gave up.
    pub(super) failure: Mutex<Option<Error>>,
}

/// What each thread is given.
pub(super) struct Task {
    pub(super) thread: u32,
    pub(super) start: Instant,
    /// Requests of the whole run; `u64::MAX` where only time ends it.
    pub(super) requests: u64,
    pub(super) connections: u32,
}

struct Sender {
    settings: Arc<Settings>,
    events: Arc<Events>,
    shared: Arc<Shared>,
    task: Task,
    /// The next request of this thread.
    next: Cell<u64>,
    /// Requests below have been announced in the ledger.
    intended: Cell<u64>,
    /// One for each request that is due and not taken.
    permits: Semaphore,
    /// No request is started after this.
    last_start: Instant,
    stats: RefCell<Stats>,
    ledger: RefCell<Option<ledger::Writer>>,
    requests: RefCell<RequestWriter>,
}

/// Sends this thread's requests; returns the number of the first that was not started.
pub(super) fn send(
    settings: Arc<Settings>,
    events: Arc<Events>,
    shared: Arc<Shared>,
    task: Task,
    ledger: Option<ledger::Writer>,
) -> Result<u64, Error> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Error::Failed(format!("cannot start a thread: {error}")))?;
    let writer = RequestWriter::new(settings.workload.seed, settings.gzip, &settings.host, &settings.write_key);
    let grace = match settings.rate {
        // Requests that fell due while the server was behind are still sent, for as long as one may take.
        Rate::EventsPerSecond(_) => settings.timeout,
        Rate::Max => Duration::ZERO,
    };
    let sender = Sender {
        next: Cell::new(u64::from(task.thread)),
        intended: Cell::new(0),
        permits: Semaphore::new(0),
        last_start: task.start + settings.duration + grace,
        stats: RefCell::new(Stats::new()),
        ledger: RefCell::new(ledger),
        requests: RefCell::new(writer),
        settings,
        events,
        shared,
        task,
    };
    runtime.block_on(Rc::new(sender).run())
}

impl Sender {
    async fn run(self: Rc<Self>) -> Result<u64, Error> {
        let tasks = LocalSet::new();
        let pace = match self.settings.rate {
            Rate::EventsPerSecond(rate) => {
                let pace = Pace::new().map_err(|error| Error::Failed(format!("cannot make a timer: {error}")))?;
                Some(tasks.spawn_local(Rc::clone(&self).dispatch(pace, rate)))
            }
            Rate::Max => None,
        };
        let hand_over = tasks.spawn_local(Rc::clone(&self).hand_over_often());
        let clients: Vec<_> =
            (0..self.task.connections).map(|_| tasks.spawn_local(Rc::clone(&self).client())).collect();
        let finished = tasks
            .run_until(async {
                for client in clients {
                    client.await.map_err(|error| Error::Failed(format!("a client ended: {error}")))?;
                }
                Ok::<_, Error>(())
            })
            .await;
        hand_over.abort();
        if let Some(pace) = pace {
            pace.abort();
        }
        finished?;
        self.hand_over()?;
        if let Some(ledger) = self.ledger.take() {
            ledger.end(self.next.get())?;
        }
        Ok(self.next.get())
    }

    /// Releases each request when it falls due.
    async fn dispatch(self: Rc<Self>, mut pace: Pace, rate: f64) {
        let mut request = u64::from(self.task.thread);
        while request < self.task.requests && !self.is_stopped() {
            let now = Instant::now();
            let mut due = 0;
            while request < self.task.requests && self.due(request, rate) <= now {
                due += 1;
                request += u64::from(self.settings.threads);
            }
            self.permits.add_permits(due);
            if request < self.task.requests {
                let wake = self.due(request, rate).max(now + GRAIN);
                if let Err(error) = pace.wait_until(wake).await {
                    return self.give_up(Error::Failed(format!("the timer failed: {error}")));
                }
            }
        }
        self.release_clients();
    }

    /// One connection: takes requests and sends each until its story is over.
    async fn client(self: Rc<Self>) {
        let settings = &*self.settings;
        let mut connection = Connection::new(settings.address, settings.timeout);
        let mut bytes = Vec::new();
        while let Some((request, scheduled)) = self.next().await {
            let size = self.requests.borrow_mut().write(&self.events, request, &mut bytes);
            let retry_until = Instant::now() + settings.retry_for;
            let mut attempts = Attempts::default();
            let outcome = loop {
                let attempt = connection.send(&bytes).await;
                self.stats.borrow_mut().attempt(attempt, size.bytes);
                let time_left = if self.is_stopped() {
                    Duration::ZERO
                } else {
                    retry_until.saturating_duration_since(Instant::now())
                };
                let jitter = jitter(request, attempts.made);
                match attempts.take_in(attempt, time_left, jitter, settings.retry_after_max) {
                    Next::Again(wait) => tokio::time::sleep(wait).await,
                    Next::Done(outcome) => break outcome,
                }
            };
            self.finish(request, scheduled.elapsed(), size, attempts, outcome);
        }
    }

    /// The next request and the time from which its latency counts.
    async fn next(&self) -> Option<(u64, Instant)> {
        if let Rate::EventsPerSecond(_) = self.settings.rate {
            self.permits.acquire().await.ok()?.forget();
        }
        let now = Instant::now();
        let request = self.next.get();
        if self.is_stopped() || now > self.last_start || request >= self.task.requests {
            return None;
        }
        let threads = u64::from(self.settings.threads);
        if request >= self.intended.get()
            && let Some(ledger) = &mut *self.ledger.borrow_mut()
        {
            let limit = request + ledger::INTENT_REQUESTS * threads;
            if let Err(error) = ledger.intend(limit) {
                self.give_up(error);
                return None;
            }
            self.intended.set(limit);
        }
        self.next.set(request + threads);
        match self.settings.rate {
            Rate::EventsPerSecond(rate) => Some((request, self.due(request, rate))),
            Rate::Max => Some((request, now)),
        }
    }

    fn finish(&self, request: u64, latency: Duration, size: Size, attempts: Attempts, outcome: Outcome) {
        self.stats.borrow_mut().finish(outcome, size.events, attempts.made - 1, latency);
        let perhaps_kept = attempts.perhaps_kept.min(255) as u8;
        let entry = Entry { request, outcome, perhaps_kept, status: attempts.status };
        let noted = self.ledger.borrow_mut().as_mut().map_or(Ok(()), |ledger| ledger.note(entry));
        if let Err(error) = noted {
            self.give_up(error);
        }
    }

    async fn hand_over_often(self: Rc<Self>) {
        let mut ticks = tokio::time::interval(HAND_OVER_EVERY);
        loop {
            ticks.tick().await;
            if let Err(error) = self.hand_over() {
                self.give_up(error);
            }
            if self.is_stopped() {
                self.release_clients();
            }
        }
    }

    fn hand_over(&self) -> Result<(), Error> {
        let mut stats = self.stats.borrow_mut();
        self.shared.recent.lock().expect("nobody panics with it").add(&stats);
        stats.clear();
        self.ledger.borrow_mut().as_mut().map_or(Ok(()), ledger::Writer::flush)
    }

    /// Lets every waiting client see that there is nothing more to do.
    fn release_clients(&self) {
        self.permits.add_permits(self.task.connections as usize);
    }

    fn is_stopped(&self) -> bool {
        self.shared.stop.load(Ordering::Relaxed)
    }

    fn give_up(&self, error: Error) {
        self.shared.failure.lock().expect("nobody panics with it").get_or_insert(error);
        self.shared.stop.store(true, Ordering::Relaxed);
        self.release_clients();
    }

    fn due(&self, request: u64, rate: f64) -> Instant {
        let slot = self.events.plan().slots(request).start;
        self.task.start + Duration::from_secs_f64(slot as f64 / rate)
    }
}

fn jitter(request: u64, attempt: u32) -> f64 {
    (mix(u64::from(attempt), About::Jitter, request) >> 11) as f64 / (1_u64 << 53) as f64
}
