//! The way out to one cluster: its two producers, and what they hold.

use std::time::Instant;

use kafka::{Producer, Report, Sending};

use super::line::Line;
use super::progress::Progress;
use super::tally::Tally;
use crate::forward::breaker::{Sight, Stall};
use crate::forward::error::DrainError;
use crate::forward::fault::Fault;
use crate::forward::figures::Counts;
use crate::forward::in_flight::{InFlight, Token};
use crate::forward::plan::Plan;
use crate::forward::route::Route;
use crate::forward::router::Cluster;

/// The way out to one cluster.
#[derive(Debug)]
pub(crate) struct Outlet {
    /// For all records, and for those that are tried alone.
    pub(super) lines: [Line; 2],
    /// What was counted.
    pub counts: Counts,
}

impl Outlet {
    /// To one of the clusters; begins to connect.
    ///
    /// # Errors
    /// Where librdkafka does not take a setting.
    pub(super) fn new(plan: &Plan, cluster: Cluster, now: Instant) -> Result<Self, DrainError> {
        let to = plan.cluster(cluster);
        let line = |sending| Line::new(to.clone(), sending, now);
        let mut lines = [line(Sending::Together { linger_ms: plan.linger_ms }), line(Sending::Alone)];
        if to.is_configured() {
            lines[0].connect()?;
        }
        Ok(Self { lines, counts: Counts::default() })
    }

    /// The line of a route.
    pub(super) fn line(&mut self, route: Route) -> &mut Line {
        &mut self.lines[usize::from(route.alone)]
    }

    /// Records came back on one route: what became of each is told to those in flight, and of all to `tally`.
    pub(super) fn came_back(
        &mut self,
        route: Route,
        reports: impl Iterator<Item = Report>,
        now: Instant,
        in_flight: &mut InFlight,
        tally: &mut Tally,
    ) {
        let Self { lines, counts } = self;
        let line = &mut lines[usize::from(route.alone)];
        for Report { token, result, .. } in reports {
            let token = Token::from_usize(token);
            let track = usize::from(token.track);
            line.progress.came_back(track, result.is_ok(), now);
            let Err(code) = result else {
                counts.acknowledged += 1;
                tally.acknowledged += 1;
                in_flight.acknowledged(token, route);
                continue;
            };
            let fault = match Fault::of(code) {
                // Events are not held up for those that were set aside.
                Fault::Topic | Fault::Partition if Progress::is_rejected(track) => Fault::Record,
                Fault::Partition => {
                    line.progress.unknown(track, now);
                    Fault::Partition
                }
                fault => fault,
            };
            counts.faults[fault as usize] += 1;
            tally.came_back(fault, route);
            in_flight.failed(token, route, fault);
        }
        if tally.acknowledged > 0
            && let Some(producer) = line.existing()
        {
            producer.reached();
        }
    }

    /// Records that it holds.
    pub(crate) fn outstanding(&self) -> u32 {
        self.lines.iter().map(|line| line.progress.outstanding()).sum()
    }

    /// The connections have to be made again.
    pub(super) fn renew(&mut self) {
        self.lines.iter_mut().for_each(|line| line.progress.renew());
    }

    /// What a breaker has to know.
    pub(crate) fn sight(&self, now: Instant) -> Sight {
        let stall = self
            .lines
            .iter()
            .map(|line| line.progress.stall(now))
            .fold(Stall::default(), |all, one| Stall { known: all.known.max(one.known), new: all.new.max(one.new) });
        let unreachable = self.lines[0].existing().is_some_and(Producer::is_unreachable);
        Sight { stall, unreachable }
    }

    /// The last thing that its producer complained of; empty where it never did.
    pub(crate) fn last_error(&self) -> String {
        self.lines[0].existing().map(Producer::last_error).unwrap_or_default()
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kafka::Code;
    use service::Properties;
    use wire::topic::Retention;

    use super::*;
    use crate::forward::breaker::Limits;
    use crate::forward::in_flight::State;
    use crate::forward::in_flight::tests::Rig;
    use crate::forward::plan::Bounds;

    const MAIN: Route = Route::ALL[0];

    /// To no cluster, with two partitions and the track behind them.
    fn outlet(now: Instant) -> Outlet {
        let nobody = Cluster::BOTH.map(|of| kafka::Cluster::new("tapi", of.name(), "", Properties::default()));
        let plan = Plan {
            clusters: nobody,
            pin: None,
            linger_ms: 0,
            bounds: Bounds { records_max: 10, bytes_max: 1 << 20 },
            finish_within: Duration::ZERO,
            lanes: None,
            retention: Retention::default(),
            breaker: Limits::default(),
        };
        Outlet::new(&plan, Cluster::Primary, now).unwrap()
    }

    #[test]
    fn each_report_settles_its_record_and_is_counted() {
        let (now, mut rig) = (Instant::now(), Rig::new(3, 10));
        let mut outlet = outlet(now);
        rig.in_flight.fill();
        let tokens = rig.send(MAIN);
        for token in &tokens {
            outlet.line(MAIN).progress.handed_over(usize::from(token.track), now);
        }
        let missing = Err(Code::UnknownTopic);
        let results = tokens.iter().zip([missing, Ok(()), missing]);
        let reports =
            results.map(|(token, result)| Report { token: token.to_usize(), offset: -1, appended_ms: None, result });
        let mut tally = Tally::default();
        outlet.came_back(MAIN, reports, now, &mut rig.in_flight, &mut tally);
        assert_eq!(tally, Tally { acknowledged: 1, refused: true, ..Tally::default() });
        assert_eq!(rig.waiting(), [State::Suspect { refused: 0 }, State::Again]);
        assert_eq!((outlet.outstanding(), outlet.counts.acknowledged), (0, 1));
        assert_eq!(outlet.counts.faults[Fault::Topic as usize], 1, "the topic of events");
        assert_eq!(outlet.counts.faults[Fault::Record as usize], 1, "that of events set aside holds up nothing");
    }
}
