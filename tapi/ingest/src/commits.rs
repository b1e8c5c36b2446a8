//! From records to the proof that they are durable: appending, and the queue of those who wait.
//!
//! Waking a task from another thread costs a system call, so the buffer's writer wakes each server thread once per group
//! commit. [`Commits::follow`] runs on that thread and wakes the requests whose records lie below the new durable end.
//! Records become durable in the order in which they were appended, so the queue is popped from its front and nothing is
//! ever searched.

use std::cell::{Cell, RefCell};
use std::collections::VecDeque;
use std::future::{Future, poll_fn};
use std::pin::Pin;
use std::task::{Context, Poll, Waker};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use local_buffer::{AppendError, Appender, Durable, Pending, RecordId, Subscription};
use tokio::sync::{Mutex, Notify};

use crate::pool::Reservation;
use crate::reject::Reject;

/// Pause between attempts to append where nothing becomes durable in between: the buffer may be waiting for its next file.
const RETRY: Duration = Duration::from_millis(5);
/// How often in the time that a request waits for the disk those that have waited for all of it are looked for: one
/// timer for each thread, so that a request needs none.
const LOOKS: u32 = 8;

/// Microseconds since the Unix epoch.
pub(crate) fn clock_us() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_micros() as i64)
}

/// One thread's side of the buffer.
pub(crate) struct Commits {
    appender: Appender,
    subscription: RefCell<Subscription>,
    waiting: RefCell<Waiting>,
    /// For those who wait for room.
    advanced: Notify,
    /// Only its first tries to append.
    line: Mutex<()>,
    durable_us: Cell<i64>,
    /// How long a request waits for the disk.
    timeout: Duration,
    /// Looks so far for those who have waited too long.
    looks: Cell<u64>,
}

/// Requests in the order of their records.
#[derive(Default)]
struct Waiting {
    queue: VecDeque<Waiter>,
    /// Ticket of the first in the queue.
    first: u64,
    /// Those with lower tickets who have not heard that they are durable have waited too long.
    given_up: u64,
}

struct Waiter {
    end: RecordId,
    waker: Waker,
    /// Looks when the wait began.
    since: u64,
}

/// What has become of a request's records.
pub(crate) enum Appended {
    /// They are in the buffer.
    Pending(Pending),
    /// The disk is behind.
    Parked(Parked),
}

/// Records that wait for room in the buffer, copied out of the scratch, which other requests need.
pub(crate) struct Parked {
    bytes: Vec<u8>,
    ends: Vec<usize>,
    _reservation: Reservation,
}

impl Commits {
    /// `timeout`: how long a request waits for the disk, be it for room or for its sync.
    pub(crate) fn new(appender: Appender, timeout: Duration) -> Self {
        Self {
            subscription: RefCell::new(appender.subscribe()),
            appender,
            waiting: RefCell::default(),
            advanced: Notify::new(),
            line: Mutex::new(()),
            durable_us: Cell::new(0),
            timeout,
            looks: Cell::new(0),
        }
    }

    /// Runs as long as the thread serves: wakes whoever has become durable, and whoever has waited too long for that.
    pub(crate) async fn follow(&self) {
        let interval = (self.timeout / LOOKS).max(Duration::from_millis(1));
        let mut look = std::pin::pin!(tokio::time::sleep(interval));
        loop {
            let advanced = poll_fn(|context| {
                if let Poll::Ready(advanced) = self.subscription.borrow_mut().poll_advanced(context) {
                    return Poll::Ready(Some(advanced));
                }
                look.as_mut().poll(context).map(|()| None)
            });
            let Some(advanced) = advanced.await else {
                self.give_up();
                look.as_mut().reset(tokio::time::Instant::now() + interval);
                continue;
            };
            self.durable_us.set(clock_us());
            self.advanced.notify_waiters();
            match advanced {
                Ok(end) => self.wake_below(end),
                Err(_) => return self.wake_below(RecordId::from_u64(u64::MAX)),
            }
        }
    }

    fn wake_below(&self, end: RecordId) {
        self.waiting.borrow_mut().wake_while(|waiter| waiter.end <= end);
    }

    /// Lets those go who have waited too long: the disk hangs. Their records may still become durable.
    fn give_up(&self) {
        self.looks.set(self.looks.get() + 1);
        let mut waiting = self.waiting.borrow_mut();
        // Whoever came between two looks has waited for a part of the first interval only.
        if waiting.wake_while(|waiter| waiter.since + u64::from(LOOKS) < self.looks.get()) > 0 {
            waiting.given_up = waiting.first;
        }
    }

    /// When the last group became durable, microseconds since the Unix epoch: the one clock read of its requests.
    pub(crate) fn durable_us(&self) -> i64 {
        self.durable_us.get()
    }

    /// Puts the records into the buffer, in as few appends as they fit in. Where the disk is behind, those that are left
    /// are parked.
    pub(crate) fn append<'a>(
        &self,
        records: impl Iterator<Item = &'a [u8]> + Clone,
        room: impl FnOnce() -> Reservation,
    ) -> Result<Appended, Reject> {
        match self.appender.append_batch(records.clone()) {
            Ok(pending) => Ok(Appended::Pending(pending)),
            Err(AppendError::Busy) => Parked::new(records, room()).map(Appended::Parked),
            Err(AppendError::TooLarge { .. }) => self.append_in_parts(records, room),
            Err(error) => Err(refusal(&error)),
        }
    }

    /// Half of the records at a time, and so on. Several appends are not all or nothing: where a later one is refused,
    /// the client sends all again, and dedup drops those that were taken.
    fn append_in_parts<'a>(
        &self,
        records: impl Iterator<Item = &'a [u8]> + Clone,
        room: impl FnOnce() -> Reservation,
    ) -> Result<Appended, Reject> {
        let count = records.clone().count();
        if count < 2 {
            return Err(Reject::BodyTooLarge);
        }
        let mut part = count / 2;
        let (mut done, mut last) = (0, None);
        while done < count {
            match self.appender.append_batch(records.clone().skip(done).take(part)) {
                Ok(pending) => {
                    done += part;
                    last = Some(pending);
                }
                Err(AppendError::TooLarge { .. }) if part > 1 => part /= 2,
                Err(AppendError::Busy) => return Parked::new(records.skip(done), room()).map(Appended::Parked),
                Err(error) => return Err(refusal(&error)),
            }
        }
        last.map(Appended::Pending).ok_or(Reject::Internal)
    }

    /// Appends as soon as there is room, behind those who came before.
    pub(crate) async fn append_parked(&self, parked: Parked) -> Result<Pending, Reject> {
        let append = async {
            let _first = self.line.lock().await;
            let mut parked = parked;
            loop {
                // Listening begins before the attempt, so that an advance in between is not missed.
                let mut advanced = std::pin::pin!(self.advanced.notified());
                advanced.as_mut().enable();
                let Parked { bytes, ends, _reservation: reservation } = parked;
                let records = (0..ends.len()).map(|index| {
                    let start = if index == 0 { 0 } else { ends[index - 1] };
                    &bytes[start..ends[index]]
                });
                match self.append(records, || reservation)? {
                    Appended::Pending(pending) => return Ok(pending),
                    Appended::Parked(left) => parked = left,
                }
                let _ = tokio::time::timeout(RETRY, advanced).await;
            }
        };
        tokio::time::timeout(self.timeout, append).await.unwrap_or(Err(Reject::BufferFull))
    }

    /// Resolves when the records are durable, or never will be, or have not become so in time.
    pub(crate) fn durable(&self, pending: Pending) -> WaitDurable<'_> {
        WaitDurable { commits: self, pending, ticket: None }
    }
}

impl Waiting {
    /// Wakes from the front, and gives the number of those woken.
    fn wake_while(&mut self, due: impl Fn(&Waiter) -> bool) -> u64 {
        let before = self.first;
        while self.queue.front().is_some_and(&due) {
            self.first += 1;
            if let Some(waiter) = self.queue.pop_front() {
                waiter.waker.wake();
            }
        }
        self.first - before
    }
}

impl Parked {
    fn new<'a>(records: impl Iterator<Item = &'a [u8]> + Clone, mut reservation: Reservation) -> Result<Self, Reject> {
        let length = records.clone().map(<[u8]>::len).sum();
        // What is parked again has its room already.
        reservation.grow_to(length)?;
        let (mut bytes, mut ends) = (Vec::with_capacity(length), Vec::new());
        for record in records {
            bytes.extend_from_slice(record);
            ends.push(bytes.len());
        }
        Ok(Self { bytes, ends, _reservation: reservation })
    }
}

fn refusal(error: &AppendError) -> Reject {
    match error {
        AppendError::Full { .. } | AppendError::Busy => Reject::BufferFull,
        AppendError::TooLarge { .. } => Reject::BodyTooLarge,
        AppendError::SyncFailed(_) => Reject::BufferFailed,
        AppendError::Closed => Reject::ShuttingDown,
    }
}

/// The wait of one request.
pub(crate) struct WaitDurable<'a> {
    commits: &'a Commits,
    pending: Pending,
    ticket: Option<u64>,
}

impl Future for WaitDurable<'_> {
    type Output = Result<Durable, Reject>;

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Self::Output> {
        if let Some(known) = self.commits.subscription.borrow().check(&self.pending) {
            return Poll::Ready(known.map_err(|_| Reject::BufferFailed));
        }
        let mut waiting = self.commits.waiting.borrow_mut();
        if self.ticket.is_some_and(|ticket| ticket < waiting.given_up) {
            return Poll::Ready(Err(Reject::BufferStalled));
        }
        let first = waiting.first;
        let place = self.ticket.and_then(|ticket| ticket.checked_sub(first));
        if let Some(waiter) = place.and_then(|index| waiting.queue.get_mut(index as usize)) {
            waiter.waker.clone_from(context.waker());
        } else {
            let ticket = first + waiting.queue.len() as u64;
            let (end, waker, since) = (self.pending.end(), context.waker().clone(), self.commits.looks.get());
            waiting.queue.push_back(Waiter { end, waker, since });
            drop(waiting);
            self.ticket = Some(ticket);
        }
        Poll::Pending
    }
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use local_buffer::{Options, Queue};
    use tokio::task::LocalSet;

    use super::*;

    // A real sync has to come within it, on a busy disk as well.
    const TIMEOUT: Duration = Duration::from_secs(1);

    #[test]
    fn a_disk_that_never_answers_is_a_refusal_after_the_timeout_and_not_before() {
        let (taken, hanging) = (tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap());
        let (other, _) = Queue::open(taken.path(), Options::default()).unwrap();
        let (queue, _) = Queue::open(hanging.path(), Options::default()).unwrap();
        // What another buffer has taken never becomes durable in this one, as if its disk hung.
        let never = other.appender().append_batch(std::iter::repeat_n(b"x".as_slice(), 1_000)).unwrap();
        let soon = queue.appender().append(b"x").unwrap();
        let commits = std::rc::Rc::new(Commits::new(queue.appender(), TIMEOUT));
        let runtime = tokio::runtime::Builder::new_current_thread().enable_time().build().unwrap();
        LocalSet::new().block_on(&runtime, async {
            let follower = std::rc::Rc::clone(&commits);
            let follow = tokio::task::spawn_local(async move { follower.follow().await });
            assert!(commits.durable(soon).await.is_ok());
            for _ in 0..3 {
                let begun = Instant::now();
                assert_eq!(commits.durable(never).await.err(), Some(Reject::BufferStalled));
                assert!(begun.elapsed() >= TIMEOUT, "after {:?}", begun.elapsed());
                let after = commits.appender.append(b"y").unwrap();
                assert!(commits.durable(after).await.is_ok(), "those who come later are not given up with them");
            }
            follow.abort();
        });
    }
}
