//! One connection: its phase, its deadlines and its end.
//!
//! A timer for each request would cost more than the rest of this module. Instead each connection notes its phase and
//! the tick in which the phase began, two words without a clock read, and one task of the thread looks at all of them a
//! few times a second. Timeouts are late by at most a tick.

mod stream;

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::{Pin, pin};
use std::rc::Rc;
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use bytes::Bytes;
use hyper::server::conn::http1;
use hyper::service::HttpService;
use service::handover::Passed;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use crate::config::Limits;
use crate::passed::State;

pub(crate) use stream::Accepted;
use stream::{Io, Stream};

/// The clock of the deadlines.
const TICK: Duration = Duration::from_millis(250);
/// Time for a connection that has not sent anything when the server stops.
const FRESH_GRACE: Duration = Duration::from_secs(1);
/// Time for a client to read its refusal while it is still sending.
const LINGER: Duration = Duration::from_secs(5);

/// What a connection does.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Phase {
    /// It has sent nothing yet.
    Fresh,
    /// A head is being read.
    Head,
    /// A body is being read.
    Body,
    /// A request is being stored; that has its own deadline.
    Work,
    /// A request was answered.
    Idle,
    /// The answer was a refusal in the middle of a body, and the rest is being thrown away.
    Linger,
}

/// What the thread wants of a connection.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Order {
    /// Go on.
    Serve,
    /// Pass it on to the next process as soon as no request is in flight.
    Pass,
    /// Close as soon as no request is in flight.
    Finish,
    /// Close now.
    Close,
}

/// What the thread knows of a connection.
pub(crate) struct Entry {
    /// The other end.
    pub(crate) peer: IpAddr,
    /// The client: the other end, or whom the other end speaks for.
    pub(crate) client: Cell<IpAddr>,
    phase: Cell<Phase>,
    since: Cell<u32>,
    now: Rc<Cell<u32>>,
    linger: Cell<bool>,
    /// Bytes of an answer are still to be written.
    unwritten: Cell<bool>,
    order: Cell<Order>,
    waker: RefCell<Option<Waker>>,
    /// Where it stands in the registry.
    index: Cell<usize>,
}

impl Entry {
    /// A phase begins.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(self.now.get());
    }

    /// The answer in the making closes the connection, and the client may still be sending.
    pub(crate) fn linger(&self) {
        self.linger.set(true);
    }

    /// Whether nothing of a request or of its answer is on its way, but perhaps a part of a head.
    fn waits(&self) -> bool {
        matches!(self.phase.get(), Phase::Fresh | Phase::Head | Phase::Idle)
            && !self.linger.get()
            && !self.unwritten.get()
    }

    /// What the thread wants; the task is woken when that changes. The connection is all of its task, so the waker stays
    /// the same.
    pub(crate) fn order(&self, task: &Context<'_>) -> Order {
        if self.waker.borrow().is_none() {
            self.waker.replace(Some(task.waker().clone()));
        }
        self.order.get()
    }

    /// What a future gives, unless the connection has to close before.
    pub(crate) async fn unless_closed<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|task| match self.order(task) {
            Order::Close => Poll::Ready(None),
            _ => future.as_mut().poll(task).map(Some),
        })
        .await
    }

    /// One for the phases of a single request, of which the connection has several at a time. No thread sees it.
    pub(crate) fn of_a_request(&self) -> Rc<Self> {
        Rc::new(Self {
            peer: self.peer,
            client: self.client.clone(),
            phase: Cell::new(Phase::Head),
            since: Cell::new(0),
            now: Rc::clone(&self.now),
            linger: Cell::new(false),
            unwritten: Cell::new(false),
            order: Cell::new(Order::Serve),
            waker: RefCell::default(),
            index: Cell::new(usize::MAX),
        })
    }

    fn command(&self, order: Order) {
        self.order.set(order);
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }
}

/// The connections of one thread.
pub(crate) struct Connections {
    entries: RefCell<Vec<Rc<Entry>>>,
    now: Rc<Cell<u32>>,
    stopping: Cell<bool>,
    /// Those that the next process gets.
    passed: RefCell<Vec<Passed>>,
    /// One was opened or closed.
    changed: Notify,
}

impl Connections {
    pub(crate) fn new() -> Self {
        Self {
            entries: RefCell::default(),
            now: Rc::default(),
            stopping: Cell::new(false),
            passed: RefCell::default(),
            changed: Notify::new(),
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.entries.borrow().len()
    }

    pub(crate) fn open(&self, peer: IpAddr) -> Rc<Entry> {
        let mut entries = self.entries.borrow_mut();
        let entry = Rc::new(Entry {
            peer,
            client: Cell::new(peer),
            phase: Cell::new(Phase::Fresh),
            since: Cell::new(self.now.get()),
            now: Rc::clone(&self.now),
            linger: Cell::new(false),
            unwritten: Cell::new(false),
            order: Cell::new(Order::Serve),
            waker: RefCell::default(),
            index: Cell::new(entries.len()),
        });
        entries.push(Rc::clone(&entry));
        self.changed.notify_waiters();
        entry
    }

    pub(crate) fn close(&self, entry: &Entry) {
        let mut entries = self.entries.borrow_mut();
        let index = entry.index.get();
        entries.swap_remove(index);
        if let Some(moved) = entries.get(index) {
            moved.index.set(index);
        }
        self.changed.notify_waiters();
    }

    /// Waits until there are fewer than so many.
    pub(crate) async fn fewer_than(&self, count: usize) {
        while self.count() >= count {
            self.changed.notified().await;
        }
    }

    /// Runs as long as the thread serves: closes connections that take too long.
    pub(crate) async fn watch(&self, limits: &Limits) {
        let mut ticks = tokio::time::interval(TICK);
        ticks.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Skip);
        loop {
            // An idle server does not tick.
            while self.count() == 0 {
                self.changed.notified().await;
                ticks.reset();
            }
            ticks.tick().await;
            self.now.set(self.now.get().wrapping_add(1));
            self.sweep(limits);
        }
    }

    fn sweep(&self, limits: &Limits) {
        for entry in &*self.entries.borrow() {
            let limit = match entry.phase.get() {
                Phase::Fresh if self.stopping.get() => FRESH_GRACE,
                Phase::Fresh | Phase::Head => Duration::from_millis(limits.header_read_timeout_ms),
                Phase::Body => Duration::from_millis(limits.body_read_timeout_ms),
                Phase::Idle => Duration::from_millis(limits.idle_timeout_ms),
                Phase::Linger => LINGER,
                Phase::Work => continue,
            };
            let elapsed = TICK * self.now.get().wrapping_sub(entry.since.get());
            if elapsed > limit {
                entry.command(Order::Close);
            }
        }
    }

    /// Lets every connection finish what it has begun, waits for that up to the timeout, and closes what is left.
    pub(crate) async fn finish(&self, timeout: Duration) {
        self.stopping.set(true);
        self.end(Order::Finish, timeout).await;
    }

    /// The same for the next process, which gets those that have begun nothing.
    pub(crate) async fn pass(&self, timeout: Duration) -> Vec<Passed> {
        self.end(Order::Pass, timeout).await;
        self.passed.take()
    }

    /// Keeps a connection for the next process.
    fn keep(&self, stream: TcpStream, entry: &Entry, read: Bytes) {
        // More of a head than can be told ends as at any stop.
        if let Ok(stream) = stream.into_std()
            && State::fits(read.len())
        {
            let state = State { client: entry.client.get(), idle: entry.phase.get() == Phase::Idle, read };
            self.passed.borrow_mut().push(Passed { stream, state: state.encode() });
        }
    }

    async fn end(&self, order: Order, timeout: Duration) {
        self.command(order);
        if tokio::time::timeout(timeout, self.fewer_than(1)).await.is_err() {
            tracing::warn!(connections = self.count(), "closing connections that did not finish in time");
            self.command(Order::Close);
            self.fewer_than(1).await;
        }
    }

    fn command(&self, order: Order) {
        self.entries.borrow().iter().for_each(|entry| entry.command(order));
    }
}

/// Serves a connection to its end, or until it is passed on.
pub(crate) async fn serve<T: Stream, S>(
    http: &http1::Builder,
    accepted: Accepted<T>,
    service: S,
    connections: &Connections,
    entry: &Rc<Entry>,
) where
    S: HttpService<
            hyper::body::Incoming,
            ResBody: hyper::body::Body<Error: Into<Box<dyn std::error::Error + Send + Sync>>> + 'static,
        >,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    let mut connection = http.serve_connection(Io::new(accepted, entry), service);
    let mut finishing = false;
    let is_passed = poll_fn(|context| {
        let order = match entry.order(context) {
            Order::Pass if !T::PASSES => Order::Finish,
            order => order,
        };
        match order {
            Order::Close => return Poll::Ready(false),
            Order::Pass if entry.waits() => return Poll::Ready(true),
            // An answer that is being written does not say that the connection ends, so it does not.
            Order::Pass if !finishing && matches!(entry.phase.get(), Phase::Body | Phase::Work) => {
                finishing = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            // A client that has just connected is about to send: it gets its answer first.
            Order::Finish if !finishing && entry.phase.get() != Phase::Fresh => {
                finishing = true;
                Pin::new(&mut connection).graceful_shutdown();
            }
            Order::Pass | Order::Finish | Order::Serve => {}
        }
        // How a connection ends is the client's business: there is nobody to tell.
        match Pin::new(&mut connection).poll(context) {
            Poll::Ready(_) => Poll::Ready(false),
            Poll::Pending if !finishing && order == Order::Pass && entry.waits() => Poll::Ready(true),
            Poll::Pending => Poll::Pending,
        }
    })
    .await;
    if is_passed {
        let parts = connection.into_parts();
        let read = [parts.read_buf, parts.io.read].concat().into();
        if let Some(stream) = parts.io.stream.into_inner().into_tcp() {
            connections.keep(stream, entry, read);
        }
    }
}
