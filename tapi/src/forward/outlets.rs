//! The ways out to the two clusters, and the producers that come and go on them.
//!
//! Each cluster has two lines: one for all records and one for those that are tried alone. What comes back on one
//! settles the records in flight, and is told as a [`Tally`] to whoever judges the cluster.

mod left_out;
mod line;
mod outlet;
mod progress;
mod retry;
mod size;
mod tally;
mod track;

use std::time::{Duration, Instant};

use kafka::{Code, Producer, Report};
use service::backoff::Backoff;
use tracing::{info, warn};

use self::left_out::News;
use self::line::Line;
use self::outlet::Outlet;
use super::breaker::Sight;
use super::choice::Choice;
use super::error::DrainError;
use super::fault::Fault;
use super::in_flight::InFlight;
use super::plan::Plan;
use super::route::Route;
use super::router::Cluster;

#[cfg(test)]
pub(crate) use left_out::Why;
pub(crate) use left_out::{LeftOut, sentence};
pub(crate) use progress::track_of;
pub(crate) use retry::Retry;
pub(crate) use tally::Tally;

/// First pause after records failed; it doubles up to the last.
const RETRY_FIRST: Duration = Duration::from_millis(50);
/// Last pause.
const RETRY_LAST: Duration = Duration::from_secs(5);
/// Longest time to wait for records that were taken back; they were measured to be back within 3 ms, 500,000 within
/// 57 ms. What is later comes when it comes.
const TAKE_BACK: Duration = Duration::from_millis(200);
/// Longest wait between two looks at how much is still out.
const TAKE_BACK_STEP: Duration = Duration::from_millis(5);
/// A producer that brings nothing through for so long, though a broker can be reached, gives way to a new one.
const RESTART_AFTER: Duration = Duration::from_mins(2);

/// The ways out to the two clusters.
#[derive(Debug)]
pub(crate) struct Outlets {
    both: [Outlet; 2],
    /// How soon each cluster may be asked again.
    retries: [Retry; 2],
    /// On their way from librdkafka to the records in flight; empty in between.
    reports: Vec<Report>,
}

impl Outlets {
    /// Begins to connect to the clusters that have brokers.
    ///
    /// # Errors
    /// Where librdkafka does not take a setting.
    pub(crate) fn new(plan: &Plan, now: Instant) -> Result<Self, DrainError> {
        let [primary, secondary] = Cluster::BOTH.map(|cluster| Outlet::new(plan, cluster, now));
        let retries = [(); 2].map(|()| Retry::new(Backoff::new(RETRY_FIRST, RETRY_LAST)));
        Ok(Self { both: [primary?, secondary?], retries, reports: Vec::new() })
    }

    /// Whether any cluster has acknowledged a record.
    pub(crate) fn has_acknowledged(&self) -> bool {
        self.both.iter().any(|outlet| outlet.counts.acknowledged > 0)
    }

    /// The way out to one cluster.
    pub(crate) fn of(&self, cluster: Cluster) -> &Outlet {
        &self.both[cluster as usize]
    }

    /// The same, to change it.
    pub(crate) fn of_mut(&mut self, cluster: Cluster) -> &mut Outlet {
        &mut self.both[cluster as usize]
    }

    /// The line of a route.
    pub(crate) fn line(&mut self, route: Route) -> &mut Line {
        self.of_mut(route.cluster).line(route)
    }

    /// How soon each cluster may be asked again.
    pub(crate) fn retries(&self) -> &[Retry; 2] {
        &self.retries
    }

    /// The same, to take from it.
    pub(crate) fn retries_mut(&mut self) -> &mut [Retry; 2] {
        &mut self.retries
    }

    /// Records that each cluster holds, but for those in partitions that are left out: nobody waits for them.
    pub(crate) fn awaited(&self, now: Instant) -> [u32; 2] {
        self.both.each_ref().map(|outlet| outlet.awaited(now))
    }

    /// The route with most records, if any has one.
    pub(crate) fn fullest(&self) -> Option<Route> {
        let held = |route: &Route| self.of(route.cluster).lines[usize::from(route.alone)].progress.outstanding();
        Route::ALL.into_iter().max_by_key(held).filter(|route| held(route) > 0)
    }

    /// Time has passed: says of each partition whether it makes progress.
    pub(crate) fn judge(&mut self, now: Instant) {
        self.both.iter_mut().for_each(|outlet| outlet.judge(now));
    }

    /// Logs each partition that is left out now or used again, once. `choices` are the partitions of each cluster.
    pub(crate) fn tell(&mut self, choices: [Option<Choice>; 2], now: Instant) {
        for cluster in Cluster::BOTH {
            let lane_of = |partition| choices[cluster as usize].map(|it| it.lanes().lane_of_partition(partition));
            for news in self.of_mut(cluster).news(now) {
                match news {
                    News::LeftOut(LeftOut { partition, why }) => {
                        warn!(%cluster, partition, lane = lane_of(partition), %why, "a partition is left out; its lane goes on with the others");
                    }
                    News::Used(partition) => {
                        info!(%cluster, partition, lane = lane_of(partition), "a partition is used again");
                    }
                }
            }
        }
    }

    /// What the breakers have to know, as far as records tell it.
    pub(crate) fn sights(&self, now: Instant) -> [Sight; 2] {
        self.both.each_ref().map(|outlet| outlet.sight(now))
    }

    // === what comes back ===

    /// Takes what came back on one route, having waited for it up to `wait`.
    pub(crate) fn collect(&mut self, route: Route, wait: Duration, in_flight: &mut InFlight, tally: &mut Tally) {
        let outlet = &mut self.both[route.cluster as usize];
        let Some(producer) = outlet.line(route).existing() else { return };
        producer.serve(wait, &mut self.reports);
        tally.refused |= producer.take_refused();
        if producer.is_fatal() {
            tally.broken = Some(route);
        }
        outlet.came_back(route, self.reports.drain(..), Instant::now(), in_flight, tally);
    }

    /// How soon a cluster may be asked again, by what came back.
    pub(crate) fn heed(&mut self, cluster: Cluster, tally: &Tally, now: Instant, chance: f64) {
        let retry = &mut self.retries[cluster as usize];
        if tally.is_bad() {
            retry.failed(now, chance);
        } else if tally.acknowledged > 0 {
            retry.acknowledged(tally.acknowledged);
        }
    }

    /// A producer did not even take a record: as if the record had come back at once.
    pub(crate) fn not_taken(&mut self, route: Route, code: Code) -> Tally {
        let fault = Fault::of(code);
        self.of_mut(route.cluster).counts.faults[fault as usize] += 1;
        Tally::not_taken(fault, route)
    }

    /// Takes back everything that a cluster holds, so that it can go elsewhere.
    pub(crate) fn take_back(&mut self, cluster: Cluster, in_flight: &mut InFlight, now: Instant) {
        let mut tally = Tally::default();
        let producers = self.of(cluster).lines.iter().filter_map(Line::existing);
        producers.for_each(Producer::purge);
        let until = Instant::now() + TAKE_BACK;
        let [together, alone] = Route::of(cluster);
        let mut wait = Duration::ZERO;
        loop {
            self.collect(alone, Duration::ZERO, in_flight, &mut tally);
            self.collect(together, wait, in_flight, &mut tally);
            if self.of(cluster).outstanding() == 0 || Instant::now() >= until {
                break;
            }
            wait = TAKE_BACK_STEP;
        }
        // What comes next is judged as what comes first.
        self.retries[cluster as usize].forgive();
        self.of_mut(cluster).renew();
        if let Some(route) = tally.broken {
            self.restart(route, in_flight, now);
        }
    }

    // === producers that come and go ===

    /// A new producer in the place of one that can do nothing any more.
    pub(crate) fn restart(&mut self, route: Route, in_flight: &mut InFlight, now: Instant) {
        let Some(producer) = self.line(route).take() else { return };
        let reason = producer.last_error();
        warn!(cluster = %route.cluster, reason, "the Kafka producer is replaced; what it held goes out again");
        self.of_mut(route.cluster).counts.restarts += 1;
        self.close(route, producer, in_flight, now);
    }

    /// The same for those that [seem to](is_stuck).
    pub(crate) fn restart_stuck(&mut self, sights: [Sight; 2], in_flight: &mut InFlight, now: Instant) {
        for cluster in Cluster::BOTH.into_iter().filter(|cluster| is_stuck(sights[*cluster as usize])) {
            for route in Route::of(cluster) {
                self.restart(route, in_flight, now);
            }
        }
    }

    /// A new producer in the place of one whose batches are no longer as large as its cluster's topic takes.
    pub(crate) fn refit(&mut self, in_flight: &mut InFlight, now: Instant) {
        for cluster in Cluster::BOTH {
            let Some(batch_bytes) = self.of_mut(cluster).refit() else { continue };
            info!(%cluster, batch_bytes, "records go out in batches of another size; what is out goes again");
            let [together, _] = Route::of(cluster);
            if let Some(producer) = self.line(together).take() {
                self.close(together, producer, in_flight, now);
            }
        }
    }

    /// Ends all producers; what they have not brought through stays undone.
    pub(crate) fn end(&mut self, in_flight: &mut InFlight, now: Instant) {
        for route in Route::ALL {
            if let Some(producer) = self.line(route).take() {
                self.close(route, producer, in_flight, now);
            }
        }
    }

    fn close(&mut self, route: Route, producer: Producer, in_flight: &mut InFlight, now: Instant) {
        producer.close(&mut self.reports);
        let outlet = &mut self.both[route.cluster as usize];
        outlet.came_back(route, self.reports.drain(..), now, in_flight, &mut Tally::default());
        in_flight.lost(route);
        outlet.line(route).progress.clear();
    }
}

/// Whether a cluster's producers bring nothing through though a broker can be reached.
fn is_stuck(sight: Sight) -> bool {
    sight.stall.longest() >= RESTART_AFTER && !sight.unreachable
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::forward::breaker::Stall;

    #[test]
    fn only_a_producer_that_could_bring_something_through_is_stuck() {
        let stall = Stall { known: RESTART_AFTER, new: Duration::ZERO };
        assert!(is_stuck(Sight { stall, ..Sight::default() }));
        assert!(
            !is_stuck(Sight { stall, unreachable: true, ..Sight::default() }),
            "a new one would reach nobody either"
        );
        let stall = Stall { known: RESTART_AFTER / 2, ..stall };
        assert!(!is_stuck(Sight { stall, ..Sight::default() }));
    }
}
