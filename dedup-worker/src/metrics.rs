//! The only place that names metrics of the worker.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::time::Duration;

use ownership::{Board, Standing};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;
use service::metrics::Encoder;
use service::{Admin, Section};

use crate::worker::figures::{Figures, Seen};
use crate::worker::output::Output;
use crate::worker::watch::{InputState, Watch};

/// A takeover is no reason to stop a deploy before it has taken so long.
const TAKEOVER: Duration = Duration::from_mins(1);
/// A loop that has not come round for so long hangs: it waits for nothing longer than a transaction lives, a minute at most.
const TURN_MAX: Duration = Duration::from_mins(2);

/// What the worker says of itself.
#[derive(Debug)]
pub struct WorkerAdmin {
    board: Arc<Board>,
    figures: Arc<Figures>,
    watches: Vec<Arc<Watch>>,
    output: Arc<Output>,
    /// A worker whose output is silent for longer is not ready: the group has given up on it by then, or cannot.
    session_timeout: Duration,
    is_shadow: bool,
    registry: Registry,
}

#[derive(Debug)]
struct WorkerMetrics(Arc<Figures>, Vec<Arc<Watch>>, Arc<Board>);

impl WorkerAdmin {
    /// For these figures.
    pub fn new(
        board: &Arc<Board>,
        figures: &Arc<Figures>,
        watches: &[Arc<Watch>],
        output: &Arc<Output>,
        session_timeout: Duration,
        is_shadow: bool,
    ) -> Self {
        let mut registry = service::metrics::registry();
        let metrics = WorkerMetrics(Arc::clone(figures), watches.to_vec(), Arc::clone(board));
        registry.register_collector(Box::new(metrics));
        let (board, figures, output) = (Arc::clone(board), Arc::clone(figures), Arc::clone(output));
        Self { board, figures, watches: watches.to_vec(), output, session_timeout, is_shadow, registry }
    }
}

impl Collector for WorkerMetrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Encoder::new(encoder);
        let (counters, board) = (&self.0.counters, &self.2);
        for (name, help, counter) in [
            ("dedup_published_events", "Events written to the output.", &counters.published),
            ("dedup_expired_events", "Of them, events older than the window.", &counters.expired),
            ("dedup_duplicate_events", "Events that had been written before.", &counters.duplicates),
            ("dedup_rejected_records", "Records set aside.", &counters.rejected),
            ("dedup_batches", "Transactions committed.", &counters.batches),
            ("dedup_faults", "Times that a lane was begun again after a fault.", &board.counts.faults),
            ("dedup_takeovers", "Lanes taken over.", &board.counts.takeovers),
            ("dedup_replayed_records", "Changelog records replayed at takeovers.", &board.counts.replayed),
            ("dedup_indexes_thrown_away", "Indexes made again.", &board.counts.thrown_away),
        ] {
            out.counter(name, help, counter.load(Relaxed))?;
        }
        let seen = self.0.lanes();
        let lanes = board.lanes();
        let count = |is: fn(&Standing) -> bool| lanes.iter().filter(|(_, seen)| is(&seen.standing)).count() as u64;
        let others = count(|standing| *standing == Standing::HandingOver);
        out.gauge("dedup_lanes", "Lanes that this worker should own.", lanes.len() as u64 - others)?;
        let help = "Lanes that another worker should own, and this one works on until it does.";
        out.gauge("dedup_lanes_handing_over", help, others)?;
        let running = count(|standing| *standing == Standing::Running);
        out.gauge("dedup_lanes_running", "Lanes through which records flow.", running)?;
        out.gauges("dedup_lanes_refused", "Lanes that wait for somebody to put something right.", |rows| {
            rows.gauge([("by", "log")], count(|standing| matches!(standing, Standing::RefusedByLog(_))))?;
            rows.gauge([("by", "here")], count(|standing| matches!(standing, Standing::RefusedHere(_))))
        })?;
        let turned = lanes.iter().map(|(_, seen)| seen.turned.elapsed().as_secs()).max();
        out.gauge("dedup_lanes_turn_age_seconds", "Since the slowest loop came round.", turned.unwrap_or(0))?;
        dedup::metrics::encode(&self.0.index(), &mut out)?;
        // An input goes by the name of its cluster.
        let inputs = || self.1.iter().enumerate().map(|(place, watch)| ([("cluster", watch.cluster().name())], place));
        let lags = |place: usize| seen.iter().filter_map(move |(_, seen)| seen.lags[place]);
        out.gauges("dedup_input_lag_records", "Records not read yet.", |rows| {
            inputs().try_for_each(|(labels, place)| {
                rows.gauge(labels, lags(place).map(|(records, _)| records).sum::<u64>())
            })
        })?;
        out.gauges("dedup_input_lag_seconds", "Age of the place of the lane that is furthest behind.", |rows| {
            inputs().try_for_each(|(labels, place)| {
                rows.gauge(labels, lags(place).map(|(_, behind_ms)| behind_ms).max().unwrap_or(0) / 1000)
            })
        })?;
        out.gauges("dedup_input_answers", "1 while the input can be read.", |rows| {
            inputs().try_for_each(|(labels, place)| {
                rows.gauge(labels, u64::from(matches!(self.1[place].state(), InputState::Ready(_))))
            })
        })?;
        let help = "How long the input keeps a record; what is not read by then is lost.";
        out.gauges("dedup_input_retention_seconds", help, |rows| {
            inputs().try_for_each(|(labels, place)| {
                self.1[place].retention_ms().map_or(Ok(()), |kept_ms| rows.gauge(labels, kept_ms / 1000))
            })
        })
    }
}

impl Admin for WorkerAdmin {
    fn metrics(&self) -> String {
        service::metrics::text(&self.registry)
    }

    fn not_ready(&self) -> Vec<String> {
        let silent = self.output.silent_for(self.session_timeout);
        let lanes = self.board.lanes();
        let hindered = lanes.iter().filter(|(_, seen)| hinders(seen)).map(|(lane, seen)| self.line(*lane, seen));
        silent.into_iter().chain(self.board.outside()).chain(hindered).collect()
    }

    fn parts(&self) -> Vec<String> {
        let refusal = self.output.refusal().map(|reasons| format!("topics of the output: {reasons}"));
        let lanes = self.board.lanes();
        let others = lanes.iter().filter(|(_, seen)| !hinders(seen)).map(|(lane, seen)| self.line(*lane, seen));
        refusal.into_iter().chain(others).collect()
    }

    fn title(&self) -> String {
        if self.is_shadow { "dedup-worker (shadow)".into() } else { "dedup-worker".into() }
    }

    fn status(&self) -> Vec<Section> {
        let counters = &self.figures.counters;
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Relaxed).to_string();
        let mut sections = vec![
            Section::new("events")
                .row("published", count(&counters.published))
                .row("older than the window", count(&counters.expired))
                .row("duplicates dropped", count(&counters.duplicates))
                .row("set aside", count(&counters.rejected))
                .row("transactions", count(&counters.batches))
                .row("takeovers", count(&self.board.counts.takeovers))
                .row("faults", count(&self.board.counts.faults)),
        ];
        let mut inputs = Section::new("inputs");
        for watch in &self.watches {
            inputs = inputs.row(watch.cluster().name(), input(&watch.state()));
        }
        sections.push(inputs);
        sections.push(dedup::metrics::section(&self.figures.index()));
        let mut rows = Section::new("lanes");
        for (lane, seen) in self.board.lanes() {
            rows = rows.row(lane.to_string(), self.describe(lane, &seen));
        }
        sections.push(rows);
        sections
    }
}

fn input(state: &InputState) -> String {
    match state {
        InputState::Unknown => "not asked yet".into(),
        InputState::Ready(facts) => format!("read, {} partitions, cluster {}", facts.partition_count, facts.cluster_id),
        InputState::Away(reason, _) => format!("away: {reason}"),
        InputState::Unfit(reason) => format!("not read: {reason}"),
    }
}

impl WorkerAdmin {
    fn line(&self, lane: u32, seen: &ownership::Seen) -> String {
        format!("lane {lane}: {}, since {} s", self.describe(lane, seen), seen.since.elapsed().as_secs())
    }

    fn describe(&self, lane: u32, seen: &ownership::Seen) -> String {
        match &seen.standing {
            Standing::Waiting => "looking at the changelog".into(),
            Standing::Fencing => "taking the fence".into(),
            Standing::Restoring(progress) => {
                format!("replaying the changelog, {} of {}", progress.offset, progress.end)
            }
            Standing::Failing(reason, pause) => {
                format!("failing, next try within {} ms: {reason}", pause.as_millis())
            }
            Standing::RefusedByLog(reason) | Standing::RefusedHere(reason) => format!("refused: {reason}"),
            Standing::HandingOver => "handing over, at work until its next owner is".into(),
            Standing::Running if seen.turned.elapsed() > TURN_MAX => {
                format!("hanging, its loop has not come round for {} s", seen.turned.elapsed().as_secs())
            }
            Standing::Running => {
                let figures = self.figures.lanes().into_iter().find(|(other, _)| *other == lane);
                figures.map_or_else(String::new, |(_, figures)| figured(&figures))
            }
        }
    }
}

/// Whether a lane is a reason not to trust this worker. One that is refused by its log is none: it would be refused
/// everywhere, and a deploy that waits for it would never end.
fn hinders(seen: &ownership::Seen) -> bool {
    match seen.standing {
        Standing::Waiting | Standing::Fencing | Standing::Restoring(_) => seen.since.elapsed() > TAKEOVER,
        Standing::Running => seen.turned.elapsed() > TURN_MAX,
        Standing::Failing(..) | Standing::RefusedHere(_) => true,
        Standing::RefusedByLog(_) | Standing::HandingOver => false,
    }
}

fn figured(seen: &Seen) -> String {
    let lag = |lag: Option<(u64, u64)>| {
        lag.map_or("-".into(), |(records, behind_ms)| format!("{records} ({} s)", behind_ms / 1000))
    };
    let lags: Vec<_> = seen.lags.iter().map(|one| lag(*one)).collect();
    format!("{} identities, behind by {}", seen.index.known_digests(), lags.join(" and "))
}

#[cfg(test)]
mod tests {
    use kafka::Cluster;
    use service::Properties;
    use wire::topic::Retention;

    use super::*;

    fn admin(board: &Arc<Board>, figures: &Arc<Figures>, watches: &[Arc<Watch>]) -> WorkerAdmin {
        let cluster = Cluster::new("test", "output", "127.0.0.1:1", Properties::default());
        let output = Output::new(cluster, Retention::default());
        WorkerAdmin::new(board, figures, watches, &output, Duration::from_mins(1), false)
    }

    #[test]
    fn every_standing_can_be_told() {
        let (board, figures) = (Arc::new(Board::default()), Arc::new(Figures::default()));
        let (place, held) = (board.enter(3), figures.enter(3));
        let admin = admin(&board, &figures, &[]);
        assert!(admin.not_ready().is_empty());
        held.lag_is(0, 7, 2_500);
        place.is(Standing::Running);
        let rows = admin.status().pop().unwrap().rows;
        assert_eq!(rows, [("3".to_owned(), "0 identities, behind by 7 (2 s) and -".to_owned())]);
        place.is(Standing::Failing("no room".into(), Duration::from_millis(100)));
        assert_eq!(admin.not_ready(), ["lane 3: failing, next try within 100 ms: no room, since 0 s"]);
        assert!(admin.metrics().contains("dedup_published_events_total 0"));
    }

    #[test]
    fn a_lane_that_is_handed_over_is_no_longer_this_workers() {
        let board = Arc::new(Board::default());
        let [kept, handed_over] = [3, 4].map(|lane| board.enter(lane));
        kept.is(Standing::Running);
        handed_over.is(Standing::HandingOver);
        let admin = admin(&board, &Arc::default(), &[]);
        let metrics = admin.metrics();
        for sample in ["dedup_lanes 1", "dedup_lanes_running 1", "dedup_lanes_handing_over 1"] {
            assert!(metrics.lines().any(|line| line == sample), "no {sample} in {metrics}");
        }
        assert!(admin.not_ready().is_empty());
    }

    #[test]
    fn what_is_refused_everywhere_hinders_nobody_and_is_told() {
        let (board, figures) = (Arc::new(Board::default()), Arc::new(Figures::default()));
        let place = board.enter(3);
        let admin = admin(&board, &figures, &[]);
        place.is(Standing::RefusedByLog("is damaged".into()));
        let line = ["lane 3: refused: is damaged, since 0 s"];
        assert_eq!((admin.not_ready().as_slice(), admin.parts().as_slice()), (&[][..], &line.map(String::from)[..]));
        assert!(admin.metrics().contains("dedup_lanes_refused{by=\"log\"} 1"), "{}", admin.metrics());
        place.is(Standing::RefusedHere("is damaged".into()));
        assert_eq!((admin.not_ready().as_slice(), admin.parts().as_slice()), (&line.map(String::from)[..], &[][..]));
    }

    #[test]
    fn an_input_is_a_label_and_the_index_is_the_sum_of_the_lanes() {
        let figures = Arc::new(Figures::default());
        let watches = ["primary", "secondary"].map(|name| {
            Watch::new(Cluster::new("test", name, "127.0.0.1:1", Properties::default()), Retention::default())
        });
        for (lane, behind_ms) in [(3, 2_500), (4, 9_000)] {
            let held = figures.enter(lane);
            held.lag_is(1, 7, behind_ms);
            held.index_is(dedup::Stats { open_digests: 5, ..dedup::Stats::default() }, 0);
        }
        let admin = admin(&Arc::default(), &figures, &watches);
        let metrics = admin.metrics();
        for sample in [
            "dedup_known_digests 10",
            "dedup_input_lag_records{cluster=\"primary\"} 0",
            "dedup_input_lag_records{cluster=\"secondary\"} 14",
            "dedup_input_lag_seconds{cluster=\"secondary\"} 9",
            "dedup_input_answers{cluster=\"primary\"} 0",
        ] {
            assert!(metrics.lines().any(|line| line == sample), "no {sample} in {metrics}");
        }
        let sections = admin.status();
        let index = sections.iter().find(|section| section.title == "dedup index").unwrap();
        assert_eq!(index.rows[0].1, "10");
    }
}
