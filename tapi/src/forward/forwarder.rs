//! The thread that drains: asks those who decide, and does what they say.

use std::sync::Arc;
use std::thread;
use std::time::{Duration, Instant};

use local_buffer::Reader;
use service::backoff::chance;
use tracing::{error, info, warn};

use super::breaker::{Sight, State};
use super::clusters::Clusters;
use super::control::{Control, Wish};
use super::deadline::Deadline;
use super::error::DrainError;
use super::figures::{ClusterFigures, Figures, Snapshot};
use super::in_flight::InFlight;
use super::outlets::{Outlets, Tally};
use super::plan::{Bounds, Plan};
use super::route::Route;
use super::router::{Change, Cluster, Router, is_bad, takes_back};
use super::send::Sender;
use super::way::Ways;

/// Longest wait for librdkafka between two looks at everything else, while it holds records.
const BUSY: Duration = Duration::from_millis(5);
/// With a full window every report makes room for one record. So much time makes room for many: handed over a few at a
/// time they would also be sent a few at a time, which costs client and broker more than all the rest.
const GATHER: Duration = Duration::from_millis(1);
/// A pause while records wait for a cluster.
const WAITING: Duration = Duration::from_millis(5);
/// A pause while there is nothing to do.
const IDLE: Duration = Duration::from_millis(100);
/// Time for what a cluster has not acknowledged when another process takes over. What it acknowledges later goes out again
/// by that process; meanwhile this one takes events as before.
const HAND_OVER: Duration = Duration::from_secs(1);
/// Between two publications of the figures.
const PUBLISH: Duration = Duration::from_millis(100);

/// The thread's state.
pub(super) struct Forwarder {
    /// Before the records in flight: librdkafka reads in their window until the producers are gone.
    outlets: Outlets,
    in_flight: InFlight,
    clusters: Clusters,
    router: Router,
    bounds: Bounds,
    control: Arc<Control>,
    deadline: Deadline,
    hand_over: Deadline,
    figures: Arc<Figures>,
    publish_at: Instant,
    /// The number of lanes could not be remembered.
    forgetful: bool,
}

impl Forwarder {
    /// Drains what the reader gives to these clusters; begins to connect.
    ///
    /// # Errors
    /// Where librdkafka does not take a setting.
    pub(super) fn new(
        plan: &Plan,
        clusters: Clusters,
        reader: Reader,
        control: Arc<Control>,
    ) -> Result<Self, DrainError> {
        let now = Instant::now();
        let mut forwarder = Self {
            outlets: Outlets::new(plan, now)?,
            in_flight: InFlight::new(reader, plan.bounds),
            clusters,
            router: Router::new(plan.breaker, plan.pin, now),
            bounds: plan.bounds,
            control,
            deadline: Deadline::new(plan.finish_within),
            hand_over: Deadline::new(HAND_OVER),
            figures: Arc::default(),
            publish_at: now,
            forgetful: false,
        };
        forwarder.follow_clusters(now);
        forwarder.publish(now);
        Ok(forwarder)
    }

    /// Where it publishes its figures.
    pub(super) fn figures(&self) -> Arc<Figures> {
        Arc::clone(&self.figures)
    }

    /// Drains until it is told to finish, and has.
    pub(super) fn run(mut self) {
        loop {
            let now = Instant::now();
            self.hear_clusters(now);
            self.hear_operator();
            self.collect(now);
            self.tick(now);
            if self.remembers() {
                self.in_flight.move_floor();
                if !self.control.is_handing_over() {
                    self.in_flight.fill();
                    self.hand_over(now);
                }
            }
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

    /// Records go to those clusters that are what they should be, and to no other.
    fn follow_clusters(&mut self, now: Instant) {
        for cluster in Cluster::BOTH {
            let choice = self.clusters.choice(cluster);
            let (outlet, standing) = (self.outlets.of_mut(cluster), self.clusters.standing(cluster));
            outlet.follow(choice, standing.leaderless(), now);
            outlet.takes(standing.batch_bytes());
            let (was, is) = (self.router.is_usable(cluster), choice.is_some());
            self.router.set_usable(cluster, is);
            if was && !is {
                self.outlets.take_back(cluster, &mut self.in_flight, now);
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
            for route in Route::of(cluster) {
                self.outlets.collect(route, Duration::ZERO, &mut self.in_flight, &mut tally);
            }
            self.settle(cluster, &tally, now);
        }
    }

    /// What follows for a cluster from what came back.
    fn settle(&mut self, cluster: Cluster, tally: &Tally, now: Instant) {
        self.outlets.heed(cluster, tally, now, chance());
        for outcome in tally.outcomes() {
            if let Some(change) = self.router.outcome(cluster, outcome, now) {
                self.changed(change, now);
            }
        }
        if let Some(route) = tally.broken {
            self.outlets.restart(route, &mut self.in_flight, now);
        }
    }

    /// Nothing that was acknowledged is forgotten before the lanes that it was sent by are remembered. Where they cannot be,
    /// nothing goes on, and it is tried again.
    fn remembers(&mut self) -> bool {
        let remembered = if self.outlets.has_acknowledged() { self.clusters.acknowledged() } else { Ok(()) };
        if let Err(error) = &remembered
            && !self.forgetful
        {
            error!(%error, "the number of lanes cannot be remembered; nothing is drained until it can");
        }
        self.forgetful = remembered.is_err();
        !self.forgetful
    }

    /// What the breakers have to know.
    fn sights(&self, now: Instant) -> [Sight; 2] {
        let mut sights = self.outlets.sights(now);
        for cluster in Cluster::BOTH {
            sights[cluster as usize].moved_ago = self.clusters.moved_ago(cluster, now);
        }
        sights
    }

    fn tick(&mut self, now: Instant) {
        self.outlets.judge(now);
        let sights = self.sights(now);
        for cluster in Cluster::BOTH.into_iter().filter(|cluster| self.router.has_to_know(*cluster, sights)) {
            self.clusters.look_at_leaders(cluster);
        }
        while let Some(change) = self.router.tick(sights, now, chance()) {
            self.changed(change, now);
        }
        self.outlets.restart_stuck(sights, &mut self.in_flight, now);
        self.outlets.refit(&mut self.in_flight, now);
    }

    /// Logs and counts a transition, once, and does what it asks for.
    fn changed(&mut self, (cluster, transition): Change, now: Instant) {
        let (from, to) = (transition.from.name(), transition.to.name());
        let outlet = self.outlets.of_mut(cluster);
        if is_bad(transition) {
            let (records, error) = (outlet.outstanding(), outlet.last_error());
            warn!(%cluster, from, to, cause = %transition.cause, records, error, "the breaker opened");
        } else {
            info!(%cluster, from, to, cause = %transition.cause, "the breaker changed");
        }
        outlet.counts.count(transition);
        if takes_back(transition) {
            self.outlets.take_back(cluster, &mut self.in_flight, now);
        }
        // All that there is may lie with the other cluster, which brings nothing through: without a record there is no
        // probe. What does not become one goes back to where it was.
        let other = cluster.other();
        if matches!(transition.to, State::HalfOpen { .. })
            && self.in_flight.waiting() == 0
            && self.router.in_trouble(other, self.sights(now))
        {
            self.outlets.take_back(other, &mut self.in_flight, now);
        }
        self.publish_at = now;
    }

    // === what goes out ===

    fn hand_over(&mut self, now: Instant) {
        if self.in_flight.waiting() == 0 {
            return;
        }
        let takes_rejected = Cluster::BOTH.map(|cluster| self.clusters.standing(cluster).takes_rejected());
        let choices = Cluster::BOTH.map(|cluster| self.clusters.choice(cluster));
        let ways = Ways::new(&self.router, self.outlets.awaited(now), now);
        let share = self.clusters.lanes().known().and_then(|lanes| self.bounds.share(lanes));
        let sender = Sender { outlets: &mut self.outlets, ways, share, full: None, choices, takes_rejected, now };
        if let Some((route, code)) = sender.run(&mut self.in_flight) {
            let tally = self.outlets.not_taken(route, code);
            self.settle(route.cluster, &tally, now);
        }
    }

    /// Waits for whatever comes first of what can come; a wait that is over early costs nothing but a look.
    fn rest(&mut self) {
        match self.outlets.fullest() {
            Some(route) => {
                if !self.in_flight.has_room() {
                    thread::sleep(GATHER);
                }
                let mut tally = Tally::default();
                self.outlets.collect(route, BUSY, &mut self.in_flight, &mut tally);
                self.settle(route.cluster, &tally, Instant::now());
            }
            None if self.in_flight.waiting() > 0 => thread::park_timeout(WAITING),
            None => self.in_flight.wait(IDLE),
        }
    }

    fn publish(&mut self, now: Instant) {
        let choices = Cluster::BOTH.map(|cluster| self.clusters.choice(cluster));
        self.outlets.tell(choices, now);
        let clusters = Cluster::BOTH.map(|cluster| {
            let outlet = self.outlets.of(cluster);
            ClusterFigures {
                standing: self.clusters.standing(cluster).clone(),
                breaker: self.router.state(cluster),
                outstanding: u64::from(outlet.outstanding()),
                stalled_for: outlet.sight(now).stall.longest(),
                left_out: outlet.left_out().to_vec(),
                clock_off_s: outlet.clock_off_s(),
                counts: outlet.counts,
                last_error: outlet.last_error(),
            }
        });
        self.figures.publish(Snapshot {
            clusters,
            target: self.router.target(),
            pin: self.router.pin(),
            lanes: self.clusters.lanes().clone(),
            window_records: self.in_flight.records() as u64,
            window_bytes: self.in_flight.bytes() as u64,
            quarantined: self.in_flight.quarantined(),
            blocked: self.in_flight.blocked().cloned(),
            running: true,
        });
        self.publish_at = now + PUBLISH;
    }

    // === the end ===

    /// Whether everything is drained, or waiting any longer is in vain.
    fn is_finished(&mut self, now: Instant) -> bool {
        if self.control.is_handing_over() {
            return self.outlets.fullest().is_none() || self.hand_over.is_over(now);
        }
        let is_over = self.deadline.is_over(now);
        if self.in_flight.is_drained() {
            return true;
        }
        let sights = self.sights(now);
        is_over || self.router.target().is_none_or(|target| self.router.in_trouble(target, sights))
    }

    fn end(mut self) {
        let now = Instant::now();
        self.outlets.end(&mut self.in_flight, now);
        if self.remembers() {
            self.in_flight.end();
        }
        self.publish(now);
    }
}
