//! The connections of one thread: who takes too long, who has to make room, who is left at a stop.
//!
//! A timer for each request would cost more than the rest of this module. Instead each connection notes its phase and
//! the tick in which the phase began, two words without a clock read, and one task of the thread looks at all of them a
//! few times a second. Timeouts are late by at most a tick.

use std::cell::{Cell, RefCell};
use std::cmp::Reverse;
use std::net::IpAddr;
use std::rc::Rc;
use std::time::Duration;

use bytes::Bytes;
use service::handover::Passed;
use tokio::net::TcpStream;
use tokio::sync::Notify;

use super::closed::Closed;
use super::entry::{Entry, Order, Phase};
use super::list::List;
use crate::config::Limits;
use crate::passed::State;
use crate::reject::Reject;

/// The clock of the deadlines.
const TICK: Duration = Duration::from_millis(250);
const TICKS_PER_SECOND: u32 = 4;
/// Time for a connection that has not sent anything when the server stops.
const FRESH_GRACE: Duration = Duration::from_secs(1);
/// Time for a client to read its refusal while it is still sending.
const LINGER: Duration = Duration::from_secs(5);
/// Time in which a client has to read a part of its answer.
const ANSWER: Duration = Duration::from_secs(30);
/// What a connection has to send a request, or a body to be read, before it can be given up for others: whoever is quick
/// has been served by then.
const SPARED_TICKS: u32 = 2 * TICKS_PER_SECOND;
/// Connections that are found to be spared in one look, of which there is at most one in each tick.
const SPARE_MAX: usize = 1024;
/// Ticks between two lines of the log about a bound that is reached.
const LOG_TICKS: u32 = 60 * TICKS_PER_SECOND;

/// The connections of one thread.
pub(crate) struct Connections {
    entries: List,
    /// The requests of HTTP/2 that are not answered. They are no connections, but their bodies go by the same rules.
    streams: List,
    now: Rc<Cell<u32>>,
    stopping: Cell<bool>,
    /// Those that can be spared, with the tick in which their phase began; the first to go is the last.
    spare: RefCell<Vec<(u32, Rc<Entry>)>>,
    /// The tick of the last look for some of them, for a body, and for a body of one source: whoever is beyond its part
    /// must not keep the others from looking.
    looked: Cell<Option<u32>>,
    looked_for_body: Cell<Option<u32>>,
    looked_in_part: Cell<Option<u32>>,
    /// All are taken and none can be spared.
    starved: Cell<bool>,
    logged: Cell<Option<u32>>,
    /// Those that the next process gets.
    passed: RefCell<Vec<Passed>>,
    /// One was opened or closed, or it is time to look again for one to be spared.
    changed: Notify,
}

impl Connections {
    pub(crate) fn new() -> Self {
        Self {
            entries: List::default(),
            streams: List::default(),
            now: Rc::default(),
            stopping: Cell::new(false),
            spare: RefCell::default(),
            looked: Cell::new(None),
            looked_for_body: Cell::new(None),
            looked_in_part: Cell::new(None),
            starved: Cell::new(false),
            logged: Cell::new(None),
            passed: RefCell::default(),
            changed: Notify::new(),
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.entries.all().len()
    }

    pub(crate) fn open(&self, peer: IpAddr) -> Rc<Entry> {
        let entry = self.entries.add(Entry::new(peer, Rc::clone(&self.now), false));
        self.changed.notify_waiters();
        entry
    }

    pub(crate) fn close(&self, entry: &Entry) {
        self.entries.remove(entry);
        self.changed.notify_waiters();
    }

    /// One for a single request of a connection that has several at a time.
    pub(crate) fn open_stream(&self, connection: &Entry) -> Rc<Entry> {
        let entry = Entry::new(connection.peer, Rc::clone(&self.now), true);
        entry.client.set(connection.client.get());
        self.streams.add(entry)
    }

    pub(crate) fn close_stream(&self, entry: &Entry) {
        self.streams.remove(entry);
    }

    /// Waits until there are fewer than so many.
    pub(crate) async fn fewer_than(&self, count: usize) {
        while self.count() >= count {
            self.changed.notified().await;
        }
    }

    /// The same, and closes those that can be spared most easily. Where none can, new ones wait in the kernel's queue.
    /// `note` is told when that begins and ends.
    pub(crate) async fn make_room(&self, count: usize, note: impl Fn(bool)) {
        while self.count() >= count {
            self.set_starved(!self.evict(), &note);
            self.log_bound();
            self.changed.notified().await;
        }
        self.set_starved(false, &note);
    }

    fn set_starved(&self, is_starved: bool, note: &impl Fn(bool)) {
        if self.starved.replace(is_starved) != is_starved {
            note(is_starved);
        }
    }

    /// Has one connection closed that nobody misses: one that is silent, else the one that is idle longest.
    pub(crate) fn evict(&self) -> bool {
        let mut spare = self.spare.borrow_mut();
        loop {
            while let Some((since, entry)) = spare.pop() {
                let is_same = entry.since.get() == since && entry.order.get() == Order::Serve;
                if is_same && spare_rank(&entry).is_some() {
                    entry.close_for(Closed::Evicted);
                    entry.command(Order::Close);
                    return true;
                }
            }
            if self.looked.replace(Some(self.now.get())) == Some(self.now.get()) {
                return false;
            }
            let entries = self.entries.all();
            let mut found: Vec<_> = entries.iter().filter_map(|entry| Some((spare_rank(entry)?, entry))).collect();
            found.sort_unstable_by_key(|(rank, _)| Reverse(*rank));
            found.truncate(SPARE_MAX);
            spare.extend(found.into_iter().rev().map(|(_, entry)| (entry.since.get(), Rc::clone(entry))));
        }
    }

    /// Has the body, or the head, given up that has held the most memory for the longest time, so that others get room;
    /// not that of `own`, and where only its source has no room, one of that source. Whether one is.
    pub(crate) fn relieve(&self, own: &Entry, reject: Reject) -> bool {
        let in_part = reject == Reject::SourceOverloaded;
        let looked = if in_part { &self.looked_in_part } else { &self.looked_for_body };
        if looked.replace(Some(self.now.get())) == Some(self.now.get()) {
            return false;
        }
        let (entries, streams) = (self.entries.all(), self.streams.all());
        let held = |entry: &&Rc<Entry>| {
            let age = self.now.get().wrapping_sub(entry.read_since.get());
            let is_held = matches!(entry.phase.get(), Phase::Head | Phase::Body)
                && age >= SPARED_TICKS
                && (!in_part || (entry.phase.get() == Phase::Body && entry.slot == own.slot))
                && !std::ptr::eq(&raw const ***entry, own);
            (is_held && !entry.is_being_cut()).then(|| entry.read_bytes.get().saturating_mul(u64::from(age)))
        };
        let longest = entries
            .iter()
            .chain(&*streams)
            .filter_map(|entry| Some((held(&entry)?, entry)))
            .max_by_key(|(held, _)| *held);
        let Some((_, entry)) = longest else { return false };
        entry.cut(reject, Closed::Relieved);
        // Another one may be looked for at once.
        looked.set(None);
        true
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
            self.tick(limits);
        }
    }

    fn tick(&self, limits: &Limits) {
        self.now.set(self.now.get().wrapping_add(1));
        self.entries.all().iter().for_each(|entry| self.look_at(entry, limits));
        let streams = self.streams.all();
        streams.iter().filter(|entry| entry.phase.get() == Phase::Body).for_each(|entry| self.look_at(entry, limits));
        if self.starved.get() {
            self.changed.notify_waiters();
        }
    }

    fn look_at(&self, entry: &Entry, limits: &Limits) {
        let elapsed = TICK * entry.age();
        let is_over = |limit_ms: u64| elapsed > Duration::from_millis(limit_ms);
        let late = match entry.phase.get() {
            Phase::Fresh if self.stopping.get() => (elapsed > FRESH_GRACE).then_some(Closed::Stopped),
            Phase::Fresh => is_over(limits.header_read_timeout_ms).then_some(Closed::Silent),
            Phase::Head => is_over(limits.header_read_timeout_ms).then_some(Closed::HeadTimeout),
            Phase::Body => self.body_is_late(entry, limits).then_some(Closed::BodyTimeout),
            Phase::Idle => is_over(limits.idle_timeout_ms).then_some(Closed::Idle),
            Phase::Answer => (elapsed > ANSWER).then_some(Closed::AnswerTimeout),
            Phase::Linger => (elapsed > LINGER).then_some(Closed::LingerTimeout),
            Phase::Work => None,
        };
        match late {
            None => {}
            Some(closed @ (Closed::HeadTimeout | Closed::BodyTimeout)) if !entry.is_being_cut() => {
                entry.cut(Reject::ReadTimeout, closed);
            }
            Some(closed) => {
                entry.close_for(closed);
                entry.command(Order::Close);
            }
        }
    }

    /// Whether a body has come too slowly: less than the rate in a stretch of the timeout, or longer than any body may
    /// take. A stretch that was fast enough is followed by the next one.
    fn body_is_late(&self, entry: &Entry, limits: &Limits) -> bool {
        let total = TICK * self.now.get().wrapping_sub(entry.read_since.get());
        if total > Duration::from_millis(limits.body_total_timeout_ms) {
            return true;
        }
        if TICK * entry.age() <= Duration::from_millis(limits.body_read_timeout_ms) {
            return false;
        }
        let bytes = entry.read_bytes.get() - entry.read_bytes_before.get();
        let enough = limits.body_bytes_per_second_min.saturating_mul(limits.body_read_timeout_ms).div_ceil(1000);
        let is_late = bytes < enough || entry.is_being_cut();
        if !is_late {
            entry.since.set(self.now.get());
            entry.read_bytes_before.set(entry.read_bytes.get());
        }
        is_late
    }

    fn log_bound(&self) {
        let now = self.now.get();
        if self.logged.get().is_some_and(|logged| now.wrapping_sub(logged) < LOG_TICKS) {
            return;
        }
        self.logged.set(Some(now));
        let connections = self.count();
        if self.starved.get() {
            tracing::warn!(connections, "all connections are taken and none is idle: new ones wait");
        } else {
            tracing::warn!(
                connections,
                "all connections are taken: those that are idle longest are closed for new ones"
            );
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
    pub(super) fn keep(&self, stream: TcpStream, entry: &Entry, read: Bytes) {
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
        for entry in &*self.entries.all() {
            if order != Order::Pass {
                entry.close_for(Closed::Stopped);
            }
            entry.command(order);
        }
    }
}

/// How easily a connection can be spared, the easiest highest; `None` where it cannot. Whoever has sent a request goes
/// after those who are silent, or take their time with a head.
fn spare_rank(entry: &Entry) -> Option<(bool, u32)> {
    let age = entry.age();
    match entry.phase.get() {
        Phase::Fresh | Phase::Head | Phase::Answer | Phase::Linger => (age >= SPARED_TICKS).then_some((true, age)),
        Phase::Idle => Some((false, age)),
        Phase::Body | Phase::Work => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::share::Slots;

    fn connections(phases: &[(Phase, u32)]) -> (Connections, Vec<Rc<Entry>>) {
        let connections = Connections::new();
        let last = phases.iter().map(|(_, age)| *age).max().unwrap_or(0);
        let entries = phases.iter().map(|(phase, age)| {
            let entry = connections.open([127, 0, 0, 1].into());
            connections.now.set(last - age);
            if *phase == Phase::Body {
                assert_eq!(entry.begin_request(), None);
            }
            entry.enter(*phase);
            entry
        });
        let entries = entries.collect();
        connections.now.set(last);
        (connections, entries)
    }

    fn orders(entries: &[Rc<Entry>]) -> Vec<usize> {
        (0..entries.len()).filter(|index| entries[*index].order.get() == Order::Close).collect()
    }

    #[test]
    fn the_silent_go_first_then_the_longest_idle_and_the_busy_never() {
        let (connections, entries) = connections(&[
            (Phase::Idle, 9),
            (Phase::Work, 100),
            (Phase::Fresh, SPARED_TICKS),
            (Phase::Body, 100),
            (Phase::Idle, 90),
            (Phase::Fresh, SPARED_TICKS - 1),
            (Phase::Head, SPARED_TICKS + 1),
        ]);
        for expected in [vec![6], vec![2, 6], vec![2, 4, 6], vec![0, 2, 4, 6]] {
            assert!(connections.evict());
            assert_eq!(orders(&entries), expected);
        }
        assert!(!connections.evict());
        assert!(entries[0].closed.get() == Closed::Evicted && entries[1].closed.get() == Closed::Client);
        // In the next tick it is looked again.
        connections.tick(&Limits::default());
        assert!(connections.evict());
        assert_eq!(orders(&entries), [0, 2, 4, 5, 6]);
    }

    #[test]
    fn one_that_is_used_again_is_not_spared() {
        let (connections, entries) = connections(&[(Phase::Idle, 9), (Phase::Idle, 8), (Phase::Idle, 7)]);
        assert!(connections.evict());
        entries[1].enter(Phase::Work);
        assert!(connections.evict());
        assert_eq!(orders(&entries), [0, 2]);
    }

    #[test]
    fn finding_whom_to_spare_costs_one_look_a_tick() {
        let (connections, entries) = connections(&vec![(Phase::Idle, 1); SPARE_MAX + 10]);
        let evicted = (0..2 * SPARE_MAX).filter(|_| connections.evict()).count();
        assert_eq!((evicted, orders(&entries).len()), (SPARE_MAX, SPARE_MAX));
    }

    #[test]
    fn the_body_that_holds_most_for_longest_makes_room() {
        let ages = [(Phase::Body, 20), (Phase::Body, 30), (Phase::Body, SPARED_TICKS - 1), (Phase::Idle, 100)];
        let (connections, entries) = connections(&ages);
        for (entry, bytes) in entries.iter().zip([1000, 10, 1 << 20, 1 << 20]) {
            entry.received(bytes, false);
        }
        let own = connections.open([127, 0, 0, 1].into());
        assert!(connections.relieve(&own, Reject::Overloaded));
        assert_eq!(entries[0].take_cut(), Some(Reject::Overloaded));
        assert_eq!(entries[0].body_cut(), Some(Reject::Overloaded));
        entries[0].enter(Phase::Work);
        assert!(connections.relieve(&own, Reject::Overloaded));
        assert_eq!(entries[1].take_cut(), Some(Reject::Overloaded));
        entries[1].enter(Phase::Work);
        assert!(!connections.relieve(&own, Reject::Overloaded));
        assert!(!connections.relieve(&entries[2], Reject::Overloaded), "not its own");
    }

    #[test]
    fn where_a_source_has_its_part_one_of_its_own_bodies_makes_room() {
        let (connections, entries) = connections(&[(Phase::Body, 20), (Phase::Body, 30), (Phase::Head, 30)]);
        let slots = Slots::default();
        let [mine, other] = [b"web", b"app"].map(|source| slots.of_source(source));
        let own = connections.open([127, 0, 0, 1].into());
        for (entry, slot) in [(&entries[0], mine), (&entries[1], other), (&own, mine)] {
            entry.charge_to(slot);
            entry.received(1000, false);
        }
        assert!(connections.relieve(&own, Reject::SourceOverloaded));
        assert_eq!(entries[0].take_cut(), Some(Reject::SourceOverloaded));
        entries[0].enter(Phase::Work);
        assert!(!connections.relieve(&own, Reject::SourceOverloaded));
        // Its search has not used up that of the others.
        assert!(connections.relieve(&own, Reject::Overloaded));
        assert!(entries[1].is_being_cut());
    }

    #[test]
    fn a_slow_body_may_take_its_time_and_a_stalled_one_may_not() {
        let limits = Limits {
            body_read_timeout_ms: 1000,
            body_bytes_per_second_min: 100,
            body_total_timeout_ms: 60_000,
            ..Limits::default()
        };
        let (connections, entries) = connections(&[(Phase::Body, 0), (Phase::Body, 0)]);
        let [slow, stalled] = &entries[..] else { unreachable!() };
        stalled.received(1 << 20, false);
        let ticks_until = |entry: &Rc<Entry>, bytes: usize| {
            (1..1000).find(|_| {
                slow.received(bytes, false);
                connections.tick(&limits);
                entry.is_being_cut()
            })
        };
        // A great start does not count for what follows.
        assert_eq!(ticks_until(stalled, 30), Some(10));
        assert_eq!(stalled.closed.get(), Closed::BodyTimeout);
        assert!(!slow.is_being_cut());
        assert_eq!(ticks_until(slow, 30), Some(231), "the bound of the whole, a minute");
        assert_eq!(slow.take_cut(), Some(Reject::ReadTimeout));
    }

    #[test]
    fn the_body_of_a_stream_goes_by_the_same_rules() {
        let limits = Limits { body_read_timeout_ms: 1000, body_bytes_per_second_min: 100, ..Limits::default() };
        let (connections, entries) = connections(&[(Phase::Work, 0)]);
        let [slow, stalled, stored] = [(); 3].map(|()| connections.open_stream(&entries[0]));
        for stream in [&slow, &stalled, &stored] {
            assert_eq!(stream.begin_request(), None);
        }
        stored.enter(Phase::Work);
        let ticks = (1..1000).find(|_| {
            slow.received_piece(30);
            connections.tick(&limits);
            stalled.is_being_cut()
        });
        assert_eq!(ticks, Some(5));
        assert_eq!((stalled.take_cut(), stalled.body_cut()), (Some(Reject::ReadTimeout), Some(Reject::ReadTimeout)));
        (0..SPARED_TICKS).for_each(|_| connections.tick(&limits));
        assert!(slow.is_being_cut() && !stored.is_being_cut() && orders(&entries).is_empty());

        // It makes room as another one does, and is gone when it is answered.
        let holder = connections.open_stream(&entries[0]);
        holder.begin_request();
        holder.received_piece(1 << 20);
        connections.now.set(connections.now.get() + SPARED_TICKS);
        connections.close_stream(&slow);
        assert!(connections.relieve(&stalled, Reject::Overloaded) && holder.is_being_cut());
        for stream in [stalled, stored, holder] {
            connections.close_stream(&stream);
        }
        assert_eq!((connections.streams.all().len(), connections.count()), (0, 1));
    }

    #[test]
    fn a_cut_that_nobody_takes_is_a_close() {
        let limits = Limits { header_read_timeout_ms: 1000, ..Limits::default() };
        let (connections, entries) = connections(&[(Phase::Head, 0)]);
        for _ in 0..5 {
            connections.tick(&limits);
        }
        assert!(entries[0].is_being_cut() && orders(&entries).is_empty());
        for _ in 0..5 {
            connections.tick(&limits);
        }
        assert_eq!(orders(&entries), [0]);
        assert_eq!(entries[0].closed.get(), Closed::HeadTimeout);
    }
}
