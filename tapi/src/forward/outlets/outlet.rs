//! The way out to one cluster: its two producers, and what they hold.

use std::time::{Instant, SystemTime, UNIX_EPOCH};

use kafka::{Producer, Report, Sending};
use service::backoff::chance;
use tracing::{error, info};

use super::left_out::{LeftOut, News, Said};
use super::line::Line;
use super::progress::Progress;
use super::size::Size;
use super::tally::Tally;
use crate::forward::breaker::{Sight, Stall};
use crate::forward::choice::{Choice, Health};
use crate::forward::error::DrainError;
use crate::forward::fault::{Fault, is_too_large};
use crate::forward::figures::Counts;
use crate::forward::in_flight::{InFlight, Token};
use crate::forward::plan::Plan;
use crate::forward::route::Route;
use crate::forward::router::Cluster;
use crate::forward::turns::Turns;

/// The way out to one cluster.
#[derive(Debug)]
pub(crate) struct Outlet {
    /// For all records, and for those that are tried alone.
    pub(super) lines: [Line; 2],
    /// Which partitions of its lanes records go to now.
    pub turns: Turns,
    /// What was counted.
    pub counts: Counts,
    /// Partitions that get no records because others of their lane do, when it was last asked.
    left_out: Vec<LeftOut>,
    said: Said,
    /// Seconds by which the cluster's clock was ahead of this host's at the newest acknowledgement, where that is too much.
    clock_off_s: Option<i64>,
    linger_ms: u64,
    size: Size,
}

/// How far the time that a cluster stamps a record with may be from this host's. Further, and one of the two clocks is wrong:
/// workers do not let the window follow it, and retention may delete records early.
const CLOCK_OFF_MS_MAX: i64 = 3_600_000;

/// By how much a clock is ahead, in seconds, where that is too much.
fn clock_off_s(stamped_ms: i64, wall_ms: i64) -> Option<i64> {
    Some(stamped_ms.saturating_sub(wall_ms))
        .filter(|ms| ms.unsigned_abs() > CLOCK_OFF_MS_MAX as u64)
        .map(|ms| ms / 1000)
}

impl Outlet {
    /// To one of the clusters; begins to connect.
    ///
    /// # Errors
    /// Where librdkafka does not take a setting.
    pub(super) fn new(plan: &Plan, cluster: Cluster, now: Instant) -> Result<Self, DrainError> {
        let to = plan.cluster(cluster);
        let line = |sending| Line::new(to.clone(), sending, plan.breaker.stall, now);
        let (linger_ms, size) = (plan.linger_ms, Size::new());
        let together = Sending::Together { linger_ms, batch_bytes: size.bytes() };
        let mut lines = [line(together), line(Sending::Alone)];
        if to.is_configured() {
            lines[0].connect()?;
        }
        let turns = Turns::new((chance() * f64::from(u32::MAX)) as u32);
        let (counts, left_out, said) = (Counts::default(), Vec::new(), Said::default());
        Ok(Self { lines, turns, counts, left_out, said, clock_off_s: None, linger_ms, size })
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
        let Self { lines, counts, size, .. } = self;
        let line = &mut lines[usize::from(route.alone)];
        let mut stamped_ms = None;
        size.begin();
        for Report { token, bytes, appended_ms, result, .. } in reports {
            let token = Token::from_usize(token);
            let track = usize::from(token.track);
            line.progress.came_back(track, bytes, result.is_ok(), now);
            let Err(code) = result else {
                counts.acknowledged += 1;
                tally.acknowledged += 1;
                in_flight.acknowledged(token, route);
                stamped_ms = appended_ms.or(stamped_ms);
                continue;
            };
            let fault = match Fault::of(code) {
                // Events are not held up for those that were set aside.
                Fault::Topic | Fault::Partition if Progress::is_rejected(track) => Fault::Record,
                Fault::Partition => {
                    line.progress.unknown(track, now);
                    Fault::Partition
                }
                // The others of its lane take it; that one of them does not is known.
                Fault::Cluster if line.progress.is_left_out(track, now) => Fault::Partition,
                fault => fault,
            };
            if !route.alone && !Progress::is_rejected(track) && is_too_large(code) {
                size.refused(track, bytes);
            }
            counts.faults[fault as usize] += 1;
            tally.came_back(fault, route);
            in_flight.failed(token, route, fault);
        }
        if tally.acknowledged > 0
            && let Some(producer) = line.existing()
        {
            producer.reached();
        }
        if let Some(stamped_ms) = stamped_ms {
            self.stamped(route.cluster, clock_off_s(stamped_ms, wall_ms()));
        }
    }

    /// A fault is said once.
    fn stamped(&mut self, cluster: Cluster, off_s: Option<i64>) {
        match (self.clock_off_s, off_s) {
            (None, Some(off_s)) => error!(
                %cluster,
                off_s,
                "the cluster's clock and this host's differ by more than an hour; set the wrong one right"
            ),
            (Some(_), None) => info!(%cluster, "the cluster's clock and this host's agree again"),
            _ => {}
        }
        self.clock_off_s = off_s;
    }

    /// By how many seconds the cluster's clock is ahead of this host's, where that is more than an hour, either way.
    pub(crate) fn clock_off_s(&self) -> Option<i64> {
        self.clock_off_s
    }

    // === sizes ===

    /// Its topic takes so many bytes at once; `None` where that is not told.
    pub(crate) fn takes(&mut self, bytes: Option<usize>) {
        self.size.told(bytes);
    }

    /// Bytes of a batch, where its producer is to give way to one that sends batches of this size.
    pub(super) fn refit(&mut self) -> Option<usize> {
        let batch_bytes = self.size.bytes();
        let together = Sending::Together { linger_ms: self.linger_ms, batch_bytes };
        self.lines[0].sends(together).then_some(batch_bytes)
    }

    // === partitions ===

    /// Its partitions are these, and nobody leads some of them, ascending.
    pub(crate) fn follow(&mut self, choice: Option<Choice>, leaderless: &[u32], now: Instant) {
        self.lines.iter_mut().for_each(|line| line.progress.follow(choice, leaderless, now));
    }

    /// Time has passed.
    pub(super) fn judge(&mut self, now: Instant) {
        self.lines.iter_mut().for_each(|line| line.progress.judge(now));
    }

    /// What a partition is good for. What all records have shown holds for those that go alone, too.
    pub(crate) fn health(&self, route: Route, partition: u32, now: Instant) -> Health {
        let [together, alone] = self.lines.each_ref().map(|line| line.progress.health(partition, now));
        match (route.alone, together) {
            (false, _) => together,
            (true, Health::Slow) if alone == Health::Good => Health::Slow,
            // Each producer hears by itself which partitions there are.
            (true, _) => alone,
        }
    }

    /// Which partitions are left out now, by the producer for all records, and what is news of that.
    pub(super) fn news(&mut self, now: Instant) -> Vec<News> {
        self.left_out = self.lines[0].progress.left_out(now);
        self.said.news(&self.left_out, now)
    }

    /// Partitions that are left out, when it was last asked.
    pub(crate) fn left_out(&self) -> &[LeftOut] {
        &self.left_out
    }

    /// Records that it holds.
    pub(crate) fn outstanding(&self) -> u32 {
        self.lines.iter().map(|line| line.progress.outstanding()).sum()
    }

    /// The same, but for those in partitions that are left out.
    pub(super) fn awaited(&self, now: Instant) -> u32 {
        self.lines.iter().map(|line| line.progress.awaited(now)).sum()
    }

    /// The connections have to be made again.
    pub(super) fn renew(&mut self) {
        self.lines.iter_mut().for_each(|line| line.progress.renew());
    }

    /// What a breaker has to know, as far as records tell it.
    pub(crate) fn sight(&self, now: Instant) -> Sight {
        let stall = self
            .lines
            .iter()
            .map(|line| line.progress.stall(now))
            .fold(Stall::default(), |all, one| Stall { known: all.known.max(one.known), new: all.new.max(one.new) });
        let unreachable = self.lines[0].existing().is_some_and(Producer::is_unreachable);
        Sight { stall, unreachable, moved_ago: None }
    }

    /// The last thing that its producer complained of; empty where it never did.
    pub(crate) fn last_error(&self) -> String {
        self.lines[0].existing().map(Producer::last_error).unwrap_or_default()
    }
}

/// This host's clock, milliseconds since the Unix epoch.
fn wall_ms() -> i64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |time| time.as_millis() as i64)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kafka::Code;
    use service::Properties;
    use wire::LaneCount;
    use wire::topic::Retention;

    use super::*;
    use crate::forward::breaker::Limits;
    use crate::forward::in_flight::State;
    use crate::forward::in_flight::tests::Rig;
    use crate::forward::outlets::left_out::Why;
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
    fn a_clock_that_is_off_by_more_than_an_hour_is_a_fault() {
        let hour = CLOCK_OFF_MS_MAX;
        let off = |ms: i64| clock_off_s(1_790_000_000_000 + ms, 1_790_000_000_000);
        assert_eq!([off(0), off(hour), off(-hour)], [None; 3]);
        assert_eq!([off(hour + 1), off(-2 * hour)], [Some(3_600), Some(-7_200)]);
        let mut outlet = outlet(Instant::now());
        for seen in [Some(-7_200), Some(-7_100), None] {
            outlet.stamped(Cluster::Primary, seen);
            assert_eq!(outlet.clock_off_s(), seen);
        }
    }

    #[test]
    fn each_report_settles_its_record_and_is_counted() {
        let (now, mut rig) = (Instant::now(), Rig::new(3, 10));
        let mut outlet = outlet(now);
        rig.in_flight.fill();
        let tokens = rig.send(MAIN);
        for token in &tokens {
            outlet.line(MAIN).progress.handed_over(usize::from(token.track), 100, now);
        }
        let missing = Err(Code::UnknownTopic);
        let results = tokens.iter().zip([missing, Ok(()), missing]);
        let reports = results.map(|(token, result)| Report {
            token: token.to_usize(),
            bytes: 100,
            offset: -1,
            appended_ms: None,
            result,
        });
        let mut tally = Tally::default();
        outlet.came_back(MAIN, reports, now, &mut rig.in_flight, &mut tally);
        assert_eq!(tally, Tally { acknowledged: 1, refused: true, ..Tally::default() });
        assert_eq!(rig.waiting(), [State::Suspect { refused: 0 }, State::Again]);
        assert_eq!((outlet.outstanding(), outlet.counts.acknowledged), (0, 1));
        assert_eq!(outlet.counts.faults[Fault::Topic as usize], 1, "the topic of events");
        assert_eq!(outlet.counts.faults[Fault::Record as usize], 1, "that of events set aside holds up nothing");
    }

    /// Two partitions of one lane.
    fn outlet_of_two(now: Instant) -> Outlet {
        let mut outlet = outlet(now);
        outlet.follow(Choice::new(LaneCount::ONE, 2), &[], now);
        outlet
    }

    #[test]
    fn what_a_partition_that_was_left_out_gives_back_goes_to_another_and_blames_nobody() {
        let (start, mut rig) = (Instant::now(), Rig::new(2, 10));
        let mut outlet = outlet_of_two(start);
        rig.in_flight.fill();
        let tokens = rig.send(MAIN);
        let track = usize::from(tokens[1].track);
        rig.in_flight.acknowledged(tokens[0], MAIN);
        outlet.line(MAIN).progress.handed_over(track, 100, start);
        let report = |result| Report { token: tokens[1].to_usize(), bytes: 100, offset: -1, appended_ms: None, result };
        let late = start + Duration::from_secs(30);
        outlet.judge(late);
        assert_eq!((outlet.health(MAIN, 0, late), outlet.health(MAIN, 1, late)), (Health::Slow, Health::Good));
        let left_out = LeftOut { partition: 0, why: Why::NoProgress };
        assert_eq!((outlet.news(late), outlet.left_out()), (vec![News::LeftOut(left_out)], &[left_out][..]));
        assert_eq!(outlet.news(late), [], "it is said once");
        let mut tally = Tally::default();
        let timed_out = std::iter::once(report(Err(Code::MessageTimedOut)));
        outlet.came_back(MAIN, timed_out, late, &mut rig.in_flight, &mut tally);
        assert_eq!((tally, rig.waiting()), (Tally::default(), vec![State::Waiting]));
        assert_eq!(outlet.counts.faults[Fault::Partition as usize], 1);
        assert_eq!(outlet.health(MAIN, 0, late), Health::Slow, "that it holds nothing does not make it good");
    }

    #[test]
    fn a_late_acknowledgement_is_one_and_the_partition_is_used_again() {
        let (start, mut rig) = (Instant::now(), Rig::new(1, 10));
        let mut outlet = outlet_of_two(start);
        rig.in_flight.fill();
        let token = rig.send(MAIN)[0].on_track(1);
        outlet.line(MAIN).progress.handed_over(1, 100, start);
        let late = start + Duration::from_secs(29);
        outlet.judge(late);
        outlet.news(late);
        let report = Report { token: token.to_usize(), bytes: 100, offset: 7, appended_ms: None, result: Ok(()) };
        let mut tally = Tally::default();
        outlet.came_back(MAIN, std::iter::once(report), late, &mut rig.in_flight, &mut tally);
        assert_eq!((tally.acknowledged, rig.in_flight.waiting()), (1, 0));
        assert_eq!((outlet.health(MAIN, 0, late), outlet.news(late)), (Health::Good, vec![]));
        assert_eq!(outlet.left_out(), []);
        assert_eq!(outlet.news(late + Duration::from_secs(5)), [News::Used(0)]);
    }

    #[test]
    fn a_record_that_goes_alone_avoids_what_all_records_have_shown() {
        let now = Instant::now();
        let mut outlet = outlet_of_two(now);
        let [together, alone] = Route::of(Cluster::Primary);
        outlet.line(together).progress.unknown(1, now);
        assert_eq!(outlet.health(alone, 0, now), Health::Good, "each producer has metadata of its own");
        outlet.follow(Choice::new(LaneCount::ONE, 2), &[1], now);
        assert_eq!(outlet.health(alone, 1, now), Health::Slow);
        outlet.line(alone).progress.unknown(2, now);
        assert_eq!((outlet.health(alone, 1, now), outlet.health(together, 1, now)), (Health::Unknown, Health::Slow));
    }
}
