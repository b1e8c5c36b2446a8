//! What a thread knows of one connection: its phase, and what is wanted of it.

use std::cell::{Cell, RefCell};
use std::future::{Future, poll_fn};
use std::net::IpAddr;
use std::pin::pin;
use std::rc::Rc;
use std::task::{Context, Poll, Waker};

use super::closed::Closed;
use super::gate::Refusal;
use crate::reject::Reject;
use crate::share::Slot;

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
    /// The client does not read its answer.
    Answer,
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

/// What the thread knows of a connection. Times are ticks.
pub(crate) struct Entry {
    /// The other end.
    pub(crate) peer: IpAddr,
    /// The client: the other end, or whom the other end speaks for.
    pub(crate) client: Cell<IpAddr>,
    pub(super) phase: Cell<Phase>,
    /// When the phase began, or the stretch of a body that is being timed.
    pub(super) since: Cell<u32>,
    /// When the head or body began that is being read.
    pub(super) read_since: Cell<u32>,
    /// Bytes that have come of it, and how many of them before the stretch that is being timed. What came together with
    /// the end of a head counts as its body.
    pub(super) read_bytes: Cell<u64>,
    pub(super) read_bytes_before: Cell<u64>,
    last_read_bytes: Cell<u64>,
    /// On whose account the body is read.
    pub(super) slot: Cell<Option<Slot>>,
    now: Rc<Cell<u32>>,
    linger: Cell<bool>,
    /// Bytes of an answer are still to be written.
    pub(super) unwritten: Cell<bool>,
    pub(super) order: Cell<Order>,
    /// What is to be given up, and why; taken by the gate.
    cut: Cell<Option<Reject>>,
    /// Why the body was given up.
    body_cut: Cell<Option<Reject>>,
    refusal: Cell<Option<Refusal>>,
    requests: Cell<u64>,
    has_begun_head: Cell<bool>,
    pub(super) closed: Cell<Closed>,
    waker: RefCell<Option<Waker>>,
    /// One request of several on their connection, of which no gate stands before its body.
    is_stream: bool,
    /// Where it stands in the registry.
    pub(super) index: Cell<usize>,
}

impl Entry {
    pub(super) fn new(peer: IpAddr, now: Rc<Cell<u32>>, is_stream: bool) -> Self {
        Self {
            peer,
            client: Cell::new(peer),
            phase: Cell::new(Phase::Fresh),
            since: Cell::new(now.get()),
            read_since: Cell::new(0),
            read_bytes: Cell::new(0),
            read_bytes_before: Cell::new(0),
            last_read_bytes: Cell::new(0),
            slot: Cell::new(None),
            now,
            linger: Cell::new(false),
            unwritten: Cell::new(false),
            order: Cell::new(Order::Serve),
            cut: Cell::new(None),
            body_cut: Cell::new(None),
            refusal: Cell::new(None),
            requests: Cell::new(0),
            has_begun_head: Cell::new(false),
            closed: Cell::new(Closed::Client),
            waker: RefCell::default(),
            is_stream,
            index: Cell::new(0),
        }
    }

    /// This one, where whoever reads the body has to count it and to look for a cut.
    pub(crate) fn as_stream(self: &Rc<Self>) -> Option<Rc<Self>> {
        self.is_stream.then(|| Rc::clone(self))
    }

    /// What the thread wants; the task is woken when that changes. The connection is all of its task, so the waker stays
    /// the same.
    pub(crate) fn order(&self, task: &Context<'_>) -> Order {
        if self.waker.borrow().is_none() {
            self.waker.replace(Some(task.waker().clone()));
        }
        self.order.get()
    }

    /// Whether it has to close once what is in flight is answered.
    pub(super) fn is_finishing(&self) -> bool {
        self.order.get() == Order::Finish
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

    /// What a future gives, unless the body is given up before.
    pub(crate) async fn unless_cut<F: Future>(&self, future: F) -> Option<F::Output> {
        let mut future = pin!(future);
        poll_fn(|task| {
            self.order(task);
            if self.take_cut().is_some() { Poll::Ready(None) } else { future.as_mut().poll(task).map(Some) }
        })
        .await
    }

    /// Whether nothing of a request or of its answer is on its way, but perhaps a part of a head.
    pub(super) fn waits(&self) -> bool {
        matches!(self.phase.get(), Phase::Fresh | Phase::Head | Phase::Idle)
            && !self.linger.get()
            && !self.unwritten.get()
            && !self.is_being_cut()
    }

    /// Why it has ended, or is about to.
    pub(crate) fn closed(&self) -> Closed {
        self.closed.get()
    }

    /// A phase begins.
    pub(crate) fn enter(&self, phase: Phase) {
        self.phase.set(phase);
        self.since.set(self.now.get());
    }

    /// The head of a request was read; why it is refused, if it is.
    pub(crate) fn begin_request(&self) -> Option<Reject> {
        self.enter(Phase::Body);
        self.slot.set(None);
        self.begin_reading(self.last_read_bytes.get());
        let index = self.requests.get();
        self.requests.set(index + 1);
        self.refusal.get().filter(|(refused, _)| *refused == index).map(|(_, reject)| reject)
    }

    /// Requests so far.
    pub(super) fn requests(&self) -> u64 {
        self.requests.get()
    }

    /// Its body is read on this account.
    pub(crate) fn charge_to(&self, slot: Slot) {
        self.slot.set(Some(slot));
    }

    fn begin_reading(&self, bytes: u64) {
        self.read_since.set(self.now.get());
        self.read_bytes.set(bytes);
        self.read_bytes_before.set(bytes);
    }

    /// Why the body of the request ended before its end, where that was our doing.
    pub(crate) fn body_cut(&self) -> Option<Reject> {
        self.body_cut.take()
    }

    /// The request is answered. The next one may have begun to come.
    pub(crate) fn answered(&self) {
        self.enter(if self.has_begun_head.get() { Phase::Head } else { Phase::Idle });
    }

    /// The answer in the making closes the connection, and the client may still be sending.
    pub(crate) fn linger(&self) {
        self.linger.set(true);
        self.close_for(Closed::Refused);
    }

    pub(super) fn lingers(&self) -> bool {
        self.linger.get()
    }

    /// Bytes have come; perhaps the beginning of a head.
    pub(super) fn received(&self, bytes: usize, has_begun_head: bool) {
        self.has_begun_head.set(has_begun_head);
        self.last_read_bytes.set(bytes as u64);
        self.read_bytes.set(self.read_bytes.get() + bytes as u64);
        if has_begun_head && matches!(self.phase.get(), Phase::Fresh | Phase::Idle) {
            self.enter(Phase::Head);
            self.begin_reading(bytes as u64);
        }
    }

    /// A piece of the body of a stream has come.
    pub(crate) fn received_piece(&self, bytes: usize) {
        self.read_bytes.set(self.read_bytes.get() + bytes as u64);
    }

    pub(super) fn set_refusal(&self, refusal: Refusal) {
        self.refusal.set(Some(refusal));
    }

    /// Wants what is being sent to be given up. The client is told why, if it listens.
    pub(super) fn cut(&self, reject: Reject, closed: Closed) {
        self.close_for(closed);
        if self.phase.get() == Phase::Body {
            self.body_cut.set(Some(reject));
        }
        self.cut.set(Some(reject));
        // It has as long again to take its leave.
        self.since.set(self.now.get());
        self.wake();
    }

    /// Whether [`Self::cut`] was called and nothing has come of it.
    pub(super) fn is_being_cut(&self) -> bool {
        self.cut.get().is_some()
    }

    pub(super) fn take_cut(&self) -> Option<Reject> {
        self.cut.take()
    }

    /// Notes why the connection is about to end; the first reason counts.
    pub(super) fn close_for(&self, closed: Closed) {
        if self.closed.get() == Closed::Client {
            self.closed.set(closed);
        }
    }

    pub(super) fn command(&self, order: Order) {
        self.order.set(order);
        self.wake();
    }

    fn wake(&self) {
        if let Some(waker) = self.waker.borrow().as_ref() {
            waker.wake_by_ref();
        }
    }

    /// Ticks since the phase began.
    pub(super) fn age(&self) -> u32 {
        self.now.get().wrapping_sub(self.since.get())
    }
}
