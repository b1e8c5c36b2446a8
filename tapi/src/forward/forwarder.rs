//! The thread that drains: asks those who decide, and does what they say.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use kafka::{Producer, Report};
use local_buffer::Reader;
use service::backoff::chance;
use tracing::{error, info, warn};

use super::breaker::State as BreakerState;
use super::clusters::Clusters;
use super::control::{Control, Wish};
use super::error::DrainError;
use super::fault::Fault;
use super::figures::{Figures, Snapshot};
use super::outlet::Outlet;
use super::plan::Plan;
use super::router::{Change, Cluster, Outcome, Router, is_bad, takes_back};
use super::send::{Sender, Trouble};
use super::window::{BATCH_BYTES_MAX, BATCH_RECORDS_MAX, Route, State, Token, Window, after};

/// Longest wait for librdkafka between two looks at everything else, while it holds records.
const BUSY: Duration = Duration::from_millis(5);
/// With a full window every report makes room for one record. So much time makes room for many: handed over a few at a
/// time they would also be sent a few at a time, which costs client and broker more than all the rest.
const GATHER: Duration = Duration::from_millis(1);
/// A pause while records wait for a cluster.
const WAITING: Duration = Duration::from_millis(5);
/// A pause while there is nothing to do.
const IDLE: Duration = Duration::from_millis(100);
/// Longest time to wait for records that were taken back; they were measured to be back within 3 ms, 500,000 within
/// 57 ms. What is later comes when it comes.
const TAKE_BACK: Duration = Duration::from_millis(200);
/// A producer that brings nothing through for so long, though a broker can be reached, gives way to a new one.
const RESTART_AFTER: Duration = Duration::from_mins(2);
/// Between two publications of the figures.
const PUBLISH: Duration = Duration::from_millis(100);

/// What came back from one cluster in one go.
#[derive(Debug, Default)]
struct Tally {
    acknowledged: u64,
    failed: u64,
    refused: bool,
    broken: Option<Route>,
}

/// The thread's state.
pub(crate) struct Forwarder {
    /// Before the window: librdkafka reads in it until they are gone.
    outlets: [Outlet; 2],
    window: Window,
    reader: Reader,
    router: Router,
    clusters: Clusters,
    control: Arc<Control>,
    finish_until: Option<Instant>,
    plan: Plan,
    reports: Vec<Report>,
    figures: Snapshot,
    published: Arc<Figures>,
    publish_at: Instant,
    /// The last read found nothing more.
    read_all: bool,
    read_failed: bool,
}

impl Forwarder {
    pub(super) fn new(
        plan: Plan,
        clusters: Clusters,
        reader: Reader,
        control: Arc<Control>,
        published: Arc<Figures>,
        now: Instant,
    ) -> Result<Self, DrainError> {
        let [primary, secondary] = Cluster::BOTH.map(|cluster| Outlet::new(&plan, cluster, now));
        let mut forwarder = Self {
            outlets: [primary?, secondary?],
            window: Window::default(),
            reader,
            router: Router::new(plan.breaker, plan.pin, now),
            clusters,
            control,
            finish_until: None,
            plan,
            reports: Vec::new(),
            figures: Snapshot { running: true, ..Snapshot::default() },
            published,
            publish_at: now,
            read_all: false,
            read_failed: false,
        };
        forwarder.follow_clusters(now);
        forwarder.publish(now);
        Ok(forwarder)
    }

    /// Drains until it is told to finish, and has.
    pub(super) fn run(mut self) {
        loop {
            let now = Instant::now();
            self.hear_clusters(now);
            self.hear_operator();
            self.collect(now);
            self.tick(now);
            self.move_floor();
            self.fill();
            self.hand_over(now);
            if now >= self.publish_at {
                self.publish(now);
            }
            if self.control.is_finishing() && self.is_finished(now) {
                break;
            }
            self.rest();
        }
        self.end();
    }

    // === what is heard ===

    fn hear_clusters(&mut self, now: Instant) {
        if self.clusters.hear() {
            self.follow_clusters(now);
        }
    }

    fn follow_clusters(&mut self, now: Instant) {
        if self.figures.partitions.is_none()
            && let Some(count) = self.clusters.partitions()
        {
            self.outlets.iter_mut().for_each(|outlet| outlet.set_tracks(count.get() as usize + 1, now));
            self.figures.partitions = Some(count.get());
        }
        for cluster in Cluster::BOTH {
            let standing = self.clusters.standing(cluster);
            let (was, is) = (self.router.is_usable(cluster), standing.is_fit());
            self.figures.of(cluster).standing = standing.clone();
            self.router.set_usable(cluster, is);
            if was && !is {
                self.take_back(cluster, now);
            }
        }
    }

    fn hear_operator(&mut self) {
        let pin = match self.control.take_wish() {
            None => return,
            Some(Wish::Pin(cluster)) => Some(cluster),
            Some(Wish::Release) => None,
        };
        info!(pin = pin.map(Cluster::name), "an operator chose");
        self.router.set_pin(pin);
    }

    // === what comes back ===

    fn collect(&mut self, now: Instant) {
        for cluster in Cluster::BOTH {
            let mut tally = Tally::default();
            for route in Route::ALL.into_iter().filter(|route| route.cluster == cluster) {
                self.collect_from(route, Duration::ZERO, &mut tally);
            }
            self.settle(cluster, &tally, now);
        }
    }

    /// Takes what came back on one route, having waited for it up to `wait`.
    fn collect_from(&mut self, route: Route, wait: Duration, tally: &mut Tally) {
        let line = self.outlets[route.cluster as usize].line(route);
        let Some(producer) = line.existing() else { return };
        producer.serve(wait, &mut self.reports);
        tally.refused |= producer.take_refused();
        if producer.is_fatal() {
            tally.broken = Some(route);
        }
        self.apply(route, Instant::now(), tally);
    }

    /// What became of records, in the window and in the figures.
    fn apply(&mut self, route: Route, now: Instant, tally: &mut Tally) {
        let other_track = self.figures.partitions.unwrap_or(0) as usize;
        let mut reports = std::mem::take(&mut self.reports);
        let line = self.outlets[route.cluster as usize].line(route);
        for Report { token, result, .. } in reports.drain(..) {
            let token = Token::from_usize(token);
            let track = usize::from(token.track);
            line.progress.came_back(track, result.is_ok(), now);
            let Err(code) = result else {
                tally.acknowledged += 1;
                self.window.came_back(token, route, |_| State::Done);
                continue;
            };
            let fault = match Fault::of(code) {
                // Events are not held up for those that were set aside.
                Fault::Topic if track == other_track => Fault::Record,
                fault => fault,
            };
            self.figures.of(route.cluster).faults[fault as usize] += 1;
            match fault {
                Fault::Cluster => tally.failed += 1,
                Fault::Topic => tally.refused = true,
                Fault::Producer => tally.broken = Some(route),
                Fault::TakenBack | Fault::Record => {}
            }
            self.window.came_back(token, route, |state| match state {
                State::Sent { route: holder, refused } if holder == route => after(fault, route, refused),
                other => other,
            });
        }
        if tally.acknowledged > 0
            && let Some(producer) = line.existing()
        {
            producer.reached();
        }
        self.reports = reports;
    }

    fn settle(&mut self, cluster: Cluster, tally: &Tally, now: Instant) {
        let retry = &mut self.outlets[cluster as usize].retry;
        if tally.failed > 0 || tally.refused || tally.broken.is_some() {
            retry.failed(now, chance());
        } else if tally.acknowledged > 0 {
            retry.acknowledged(tally.acknowledged);
        }
        self.figures.of(cluster).acknowledged += tally.acknowledged;
        let outcomes = [
            (tally.acknowledged > 0).then_some(Outcome::Acknowledged(tally.acknowledged)),
            (tally.failed > 0).then_some(Outcome::Failed(tally.failed)),
            tally.refused.then_some(Outcome::Refused),
        ];
        for outcome in outcomes.into_iter().flatten() {
            if let Some(change) = self.router.outcome(cluster, outcome, now) {
                self.changed(change, now);
            }
        }
        if let Some(route) = tally.broken {
            self.restart(route, now);
        }
    }

    // === what follows ===

    fn tick(&mut self, now: Instant) {
        let sights = [self.outlets[0].sight(now), self.outlets[1].sight(now)];
        while let Some(change) = self.router.tick(sights, now, chance()) {
            self.changed(change, now);
        }
        for cluster in Cluster::BOTH {
            let sight = sights[cluster as usize];
            if sight.stall.longest() >= RESTART_AFTER && !sight.unreachable {
                self.restart(Route { cluster, alone: false }, now);
                self.restart(Route { cluster, alone: true }, now);
            }
        }
    }

    /// Logs and counts a transition, once, and does what it asks for.
    fn changed(&mut self, (cluster, transition): Change, now: Instant) {
        let (from, to) = (transition.from.name(), transition.to.name());
        let records = self.outlets[cluster as usize].outstanding();
        if is_bad(transition) {
            let error = self.figures.of(cluster).last_error.clone();
            warn!(%cluster, from, to, cause = %transition.cause, records, error, "the breaker opened");
        } else {
            info!(%cluster, from, to, cause = %transition.cause, "the breaker changed");
        }
        self.figures.of(cluster).count(transition);
        if takes_back(transition) {
            self.take_back(cluster, now);
        }
        // All that there is may lie with the other cluster, which brings nothing through: without a record there is no
        // probe. What does not become one goes back to where it was.
        let other = cluster.other();
        let sights = [self.outlets[0].sight(now), self.outlets[1].sight(now)];
        if matches!(transition.to, BreakerState::HalfOpen { .. })
            && self.window.waiting() == 0
            && self.router.in_trouble(other, sights)
        {
            self.take_back(other, now);
        }
        self.publish_at = now;
    }

    /// Takes back everything that a cluster holds, so that it can go elsewhere.
    fn take_back(&mut self, cluster: Cluster, now: Instant) {
        let mut tally = Tally::default();
        for line in self.outlets[cluster as usize].lines() {
            line.existing().into_iter().for_each(Producer::purge);
        }
        let until = Instant::now() + TAKE_BACK;
        let (together, alone) = (Route { cluster, alone: false }, Route { cluster, alone: true });
        let mut wait = Duration::ZERO;
        loop {
            self.collect_from(alone, Duration::ZERO, &mut tally);
            self.collect_from(together, wait, &mut tally);
            if self.outlets[cluster as usize].outstanding() == 0 || Instant::now() >= until {
                break;
            }
            wait = BUSY;
        }
        self.figures.of(cluster).acknowledged += tally.acknowledged;
        self.outlets[cluster as usize].forgive();
        if let Some(route) = tally.broken {
            self.restart(route, now);
        }
    }

    /// A new producer in the place of one that can do nothing any more.
    fn restart(&mut self, route: Route, now: Instant) {
        let Some(producer) = self.outlets[route.cluster as usize].line(route).take() else { return };
        let reason = producer.last_error();
        warn!(cluster = %route.cluster, reason, "the Kafka producer is replaced; what it held goes out again");
        self.figures.of(route.cluster).restarts += 1;
        self.close(route, producer, now);
    }

    fn close(&mut self, route: Route, producer: Producer, now: Instant) {
        producer.close(&mut self.reports);
        let mut tally = Tally::default();
        self.apply(route, now, &mut tally);
        self.figures.of(route.cluster).acknowledged += tally.acknowledged;
        self.window.lost(route);
        self.outlets[route.cluster as usize].line(route).progress.clear();
    }

    fn move_floor(&mut self) {
        let Some(end) = self.window.advance() else { return };
        if let Err(error) = self.reader.acknowledge(end) {
            error!(%error, "the floor does not move");
        }
    }

    fn fill(&mut self) {
        self.read_all = false;
        while self.has_room() {
            let records_max = BATCH_RECORDS_MAX.min(self.plan.bounds.records_max - self.window.records());
            let mut entry = self.window.take_spare();
            let read = self.reader.read(entry.batch_mut(), records_max, BATCH_BYTES_MAX);
            self.window.push(entry);
            match read {
                Ok(count) => {
                    if std::mem::take(&mut self.read_failed) {
                        self.figures.blocked.clear();
                    }
                    self.read_all = count == 0;
                    if count == 0 {
                        return;
                    }
                }
                Err(error) => {
                    let said = error.to_string();
                    if self.figures.blocked != said {
                        error!(%error, "the local buffer cannot be read; it is tried again");
                        self.figures.blocked = said;
                        self.read_failed = true;
                    }
                    return;
                }
            }
        }
    }

    fn has_room(&self) -> bool {
        self.window.has_room()
            && self.window.records() < self.plan.bounds.records_max
            && self.window.bytes() < self.plan.bounds.bytes_max
    }

    fn hand_over(&mut self, now: Instant) {
        let Some(partitions) = self.clusters.partitions() else { return };
        if self.window.waiting() == 0 {
            return;
        }
        let has_rejected = Cluster::BOTH.map(|cluster| self.clusters.standing(cluster).takes_rejected());
        let Self { outlets, router, reader, figures, window, .. } = self;
        let sender = Sender { outlets, router, reader, figures, partitions, has_rejected, now };
        if let Some(trouble) = sender.run(window) {
            self.not_taken(trouble, now);
        }
    }

    /// A producer did not even take a record: as if the record had come back at once.
    fn not_taken(&mut self, (route, code): Trouble, now: Instant) {
        let mut tally = Tally::default();
        let fault = Fault::of(code);
        self.figures.of(route.cluster).faults[fault as usize] += 1;
        match fault {
            Fault::Producer => tally.broken = Some(route),
            Fault::Topic => tally.refused = true,
            Fault::TakenBack | Fault::Cluster | Fault::Record => tally.failed = 1,
        }
        self.settle(route.cluster, &tally, now);
    }

    /// Waits for whatever comes first of what can come; a wait that is over early costs nothing but a look.
    fn rest(&mut self) {
        let held = |route: &Route| {
            self.outlets[route.cluster as usize].lines()[usize::from(route.alone)].progress.outstanding()
        };
        match Route::ALL.into_iter().max_by_key(held).filter(|route| held(route) > 0) {
            Some(route) => {
                if !self.has_room() {
                    thread::sleep(GATHER);
                }
                let mut tally = Tally::default();
                self.collect_from(route, BUSY, &mut tally);
                self.settle(route.cluster, &tally, Instant::now());
            }
            None if self.window.waiting() > 0 => thread::park_timeout(WAITING),
            None => drop(self.reader.wait(IDLE)),
        }
    }

    // === the end ===

    /// Whether everything is drained, or waiting any longer is in vain.
    fn is_finished(&mut self, now: Instant) -> bool {
        let until = *self.finish_until.get_or_insert(now + self.plan.finish_within);
        if self.read_all && self.window.is_empty() {
            return true;
        }
        let sights = [self.outlets[0].sight(now), self.outlets[1].sight(now)];
        now >= until || self.router.target().is_none_or(|target| self.router.in_trouble(target, sights))
    }

    fn end(mut self) {
        let now = Instant::now();
        for route in Route::ALL {
            if let Some(producer) = self.outlets[route.cluster as usize].line(route).take() {
                self.close(route, producer, now);
            }
        }
        self.move_floor();
        if let Err(error) = self.reader.sync_floor() {
            warn!(%error, "the floor is not durable: some records will be sent again");
        }
        if !self.read_all || !self.window.is_empty() {
            warn!("the drain ends with records left in the local buffer; the next start continues");
        }
        self.publish(now);
    }

    fn publish(&mut self, now: Instant) {
        for cluster in Cluster::BOTH {
            let outlet = &self.outlets[cluster as usize];
            let error = outlet.lines()[0].existing().map(Producer::last_error).unwrap_or_default();
            let (outstanding, sight) = (outlet.outstanding(), outlet.sight(now));
            let state: BreakerState = self.router.state(cluster);
            let figures = self.figures.of(cluster);
            figures.breaker = state;
            figures.outstanding = u64::from(outstanding);
            figures.stalled_for = sight.stall.longest();
            figures.last_error = error;
        }
        self.figures.target = self.router.target();
        self.figures.pin = self.router.pin();
        self.figures.window_records = self.window.records() as u64;
        self.figures.window_bytes = self.window.bytes() as u64;
        self.published.publish(&self.figures);
        self.publish_at = now + PUBLISH;
    }
}
