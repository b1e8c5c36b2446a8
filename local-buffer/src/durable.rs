//! How far records are durable, and everybody who waits to hear of it.
//!
//! The writer moves the end once per group and then wakes: each [`Subscription`] at most once, whatever number of
//! requests hangs on it, plain threads only if there are any, and the reader only if it sleeps.

use std::io;
use std::sync::{Arc, OnceLock, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::{Duration, Instant};

use crate::append::{Durable, Pending};
use crate::error::SyncFailed;
use crate::id::RecordId;
use crate::lock::lock;
use crate::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering, fence};
use crate::sync::{Condvar, Mutex};

/// The durable end and its audience.
pub(crate) struct DurableEnd {
    end: AtomicU64,
    failed: OnceLock<SyncFailed>,
    threads: Sleepers,
    reader: Sleepers,
    reader_called: AtomicBool,
    subscribers: Mutex<Vec<Arc<Mutex<Option<Waker>>>>>,
}

/// Plain threads that wait on a condition.
#[derive(Default)]
struct Sleepers {
    count: AtomicUsize,
    gate: Mutex<()>,
    wake: Condvar,
}

impl Sleepers {
    /// Waits until the condition holds or the time is over; says whether it holds.
    fn wait(&self, deadline: Option<Instant>, holds: impl Fn() -> bool) -> bool {
        if holds() {
            return true;
        }
        self.count.fetch_add(1, Ordering::SeqCst);
        // Either this thread sees what the waker has changed, or the waker sees that it sleeps.
        fence(Ordering::SeqCst);
        let mut gate = lock(&self.gate);
        let held = loop {
            if holds() {
                break true;
            }
            gate = match deadline {
                None => self.wake.wait(gate).unwrap_or_else(PoisonError::into_inner),
                Some(deadline) => {
                    let now = Instant::now();
                    if now >= deadline {
                        break false;
                    }
                    self.wake.wait_timeout(gate, deadline - now).unwrap_or_else(PoisonError::into_inner).0
                }
            };
        };
        drop(gate);
        self.count.fetch_sub(1, Ordering::SeqCst);
        held
    }

    fn wake(&self) {
        fence(Ordering::SeqCst);
        if self.count.load(Ordering::SeqCst) > 0 {
            // A sleeper that found the condition false holds the gate until it sleeps.
            drop(lock(&self.gate));
            self.wake.notify_all();
        }
    }
}

impl DurableEnd {
    pub(crate) fn new(end: RecordId) -> Self {
        Self {
            end: AtomicU64::new(end.get()),
            failed: OnceLock::new(),
            threads: Sleepers::default(),
            reader: Sleepers::default(),
            reader_called: AtomicBool::new(false),
            subscribers: Mutex::new(Vec::new()),
        }
    }

    /// Everything below it is durable.
    pub(crate) fn get(&self) -> RecordId {
        RecordId::from_u64(self.end.load(Ordering::SeqCst))
    }

    pub(crate) fn failed(&self) -> Option<&SyncFailed> {
        self.failed.get()
    }

    /// Moves the end and tells everybody.
    pub(crate) fn advance(&self, end: RecordId) {
        self.end.store(end.get(), Ordering::SeqCst);
        self.wake_all();
    }

    /// Says that nothing more will become durable.
    pub(crate) fn fail(&self, error: &io::Error) {
        let failed = SyncFailed::new(error);
        tracing::error!(error = %failed, "the buffer refuses records until it is opened again");
        let _ = self.failed.set(failed);
        self.wake_all();
    }

    fn wake_all(&self) {
        for subscriber in lock(&self.subscribers).iter() {
            let waker = lock(subscriber).take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }
        self.reader.wake();
        self.threads.wake();
    }

    /// What has become of an append: `None` while it may still become durable.
    pub(crate) fn check(&self, pending: &Pending) -> Option<Result<Durable, SyncFailed>> {
        if pending.end() <= self.get() {
            return Some(Ok(Durable::new(pending)));
        }
        // A failure is set after the last advance, so an end that was reached is seen here at the latest.
        let failed = self.failed()?;
        Some(if pending.end() <= self.get() { Ok(Durable::new(pending)) } else { Err(failed.clone()) })
    }

    /// Blocks until the append is durable or never will be.
    pub(crate) fn wait(&self, pending: &Pending) -> Result<Durable, SyncFailed> {
        loop {
            self.threads.wait(None, || self.check(pending).is_some());
            if let Some(result) = self.check(pending) {
                return result;
            }
        }
    }

    /// Blocks the reader until the end lies above `next`, it is called, or the time is over.
    pub(crate) fn wait_reader(&self, next: RecordId, timeout: Duration) -> bool {
        let deadline = Instant::now().checked_add(timeout);
        self.reader.wait(deadline, || self.get() > next || self.reader_called.load(Ordering::SeqCst));
        self.reader_called.store(false, Ordering::SeqCst);
        self.get() > next
    }

    /// Makes the reader's wait, or its next one, return.
    pub(crate) fn call_reader(&self) {
        self.reader_called.store(true, Ordering::SeqCst);
        self.reader.wake();
    }
}

/// A thread's view of how far records are durable: one waker for any number of requests.
pub struct Subscription {
    durable: Arc<DurableEnd>,
    waker: Arc<Mutex<Option<Waker>>>,
    seen: RecordId,
}

impl Subscription {
    pub(crate) fn new(durable: Arc<DurableEnd>) -> Self {
        let waker = Arc::new(Mutex::new(None));
        lock(&durable.subscribers).push(Arc::clone(&waker));
        let seen = durable.get();
        Self { durable, waker, seen }
    }

    /// Ready with the durable end (exclusive) when it has moved since it was last returned here, and with the failure,
    /// each time, once nothing more will become durable.
    pub fn poll_advanced(&mut self, context: &mut Context<'_>) -> Poll<Result<RecordId, SyncFailed>> {
        if let Some(ready) = self.advanced() {
            return Poll::Ready(ready);
        }
        {
            let mut waker = lock(&self.waker);
            match &*waker {
                Some(known) if known.will_wake(context.waker()) => {}
                _ => *waker = Some(context.waker().clone()),
            }
        }
        // The end may have moved before the waker was in its place.
        self.advanced().map_or(Poll::Pending, Poll::Ready)
    }

    /// What has become of an append: `None` while it may still become durable.
    pub fn check(&self, pending: &Pending) -> Option<Result<Durable, SyncFailed>> {
        self.durable.check(pending)
    }

    fn advanced(&mut self) -> Option<Result<RecordId, SyncFailed>> {
        let failed = self.durable.failed();
        let end = self.durable.get();
        if end > self.seen {
            self.seen = end;
            return Some(Ok(end));
        }
        failed.map(|failed| Err(failed.clone()))
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        lock(&self.durable.subscribers).retain(|waker| !Arc::ptr_eq(waker, &self.waker));
    }
}

/// Makes a reader's [`crate::Reader::wait`] return from another thread.
#[derive(Clone)]
pub struct ReaderWaker(pub(crate) Arc<DurableEnd>);

impl ReaderWaker {
    /// Makes the wait that is on, or else the next one, return at once.
    pub fn wake(&self) {
        self.0.call_reader();
    }
}
