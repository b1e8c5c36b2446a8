//! The only place that names metrics of the worker.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use prometheus_client::registry::Registry;
use service::metrics::Encoder;
use service::{Admin, Section};

use crate::worker::figures::{Figures, INPUTS, Seen, State};
use crate::worker::watch::{InputState, Watch};

/// Names of the inputs in labels.
const INPUT_NAMES: [&str; INPUTS] = ["primary", "secondary"];

/// What the worker says of itself.
#[derive(Debug)]
pub struct WorkerAdmin {
    figures: Arc<Figures>,
    watches: Vec<Arc<Watch>>,
    is_shadow: bool,
    registry: Registry,
}

#[derive(Debug)]
struct WorkerMetrics(Arc<Figures>, Vec<Arc<Watch>>);

impl WorkerAdmin {
    /// For these figures.
    pub fn new(figures: &Arc<Figures>, watches: &[Arc<Watch>], is_shadow: bool) -> Self {
        let mut registry = Registry::default();
        let metrics = WorkerMetrics(Arc::clone(figures), watches.to_vec());
        registry.register_collector(Box::new(metrics));
        Self { figures: Arc::clone(figures), watches: watches.to_vec(), is_shadow, registry }
    }
}

impl Collector for WorkerMetrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Encoder::new(encoder);
        let counters = &self.0.counters;
        for (name, help, counter) in [
            ("dedup_published_events", "Events written to the output.", &counters.published),
            ("dedup_expired_events", "Of them, events older than the window.", &counters.expired),
            ("dedup_duplicate_events", "Events that had been written before.", &counters.duplicates),
            ("dedup_rejected_records", "Records set aside.", &counters.rejected),
            ("dedup_batches", "Transactions committed.", &counters.batches),
            ("dedup_faults", "Times that a partition was begun again after a fault.", &counters.faults),
            ("dedup_takeovers", "Partitions taken over.", &counters.takeovers),
            ("dedup_replayed_records", "Changelog records replayed at takeovers.", &counters.replayed),
            ("dedup_indexes_thrown_away", "Indexes made again.", &counters.indexes_thrown_away),
        ] {
            out.counter(name, help, counter.load(Relaxed))?;
        }
        let partitions = self.0.partitions();
        let sum = |of: fn(&Seen) -> u64| partitions.iter().map(|(_, seen)| of(seen)).sum::<u64>();
        let running = sum(|seen| u64::from(seen.state == State::Running));
        out.gauge("dedup_partitions", "Partitions that this worker should own.", partitions.len() as u64)?;
        out.gauge("dedup_partitions_running", "Partitions through which records flow.", running)?;
        for (name, help, of) in [
            ("dedup_known_digests", "Identities in the window.", known as fn(&Seen) -> u64),
            ("dedup_open_digests", "Identities not sealed yet.", |seen| seen.index.open_digests),
            ("dedup_filter_bytes", "Memory of the filters.", |s| s.index.filter_bytes + s.index.run_filter_bytes),
            ("dedup_filter_digests", "Identities in the filters.", |seen| seen.index.filter_keys),
            ("dedup_filter_digests_max", "Identities that the filters have room for.", |s| s.index.filter_keys_max),
            ("dedup_store_bytes", "Bytes of the sealed runs on disk.", |seen| seen.index.sealed_bytes),
        ] {
            out.gauge(name, help, sum(of))?;
        }
        for (place, watch) in self.1.iter().enumerate() {
            let name = INPUT_NAMES[place];
            let lags = || partitions.iter().filter_map(|(_, seen)| seen.lags[place]);
            let records: u64 = lags().map(|(records, _)| records).sum();
            let seconds = lags().map(|(_, behind_ms)| behind_ms).max().unwrap_or(0) / 1000;
            let answers = u64::from(matches!(watch.state(), InputState::Ready(_)));
            out.gauge(&format!("dedup_{name}_lag_records"), "Records not read yet.", records)?;
            out.gauge(&format!("dedup_{name}_lag_seconds"), "Age of the oldest partition's place.", seconds)?;
            out.gauge(&format!("dedup_{name}_answers"), "1 while the input can be read.", answers)?;
            if let Some(kept_ms) = watch.retention_ms() {
                let help = "How long the input keeps a record; what is not read by then is lost.";
                out.gauge(&format!("dedup_{name}_retention_seconds"), help, kept_ms / 1000)?;
            }
        }
        Ok(())
    }
}

impl Admin for WorkerAdmin {
    fn metrics(&self) -> String {
        service::metrics::text(&self.registry)
    }

    fn not_ready(&self) -> Vec<String> {
        self.figures
            .partitions()
            .iter()
            .filter_map(|(partition, seen)| match &seen.state {
                State::Failing(reason) => Some(format!("partition {partition}: {reason}")),
                _ => None,
            })
            .collect()
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
                .row("takeovers", count(&counters.takeovers))
                .row("faults", count(&counters.faults)),
        ];
        let mut inputs = Section::new("inputs");
        for watch in &self.watches {
            inputs = inputs.row(watch.cluster().name(), input(&watch.state()));
        }
        sections.push(inputs);
        let mut partitions = Section::new("partitions");
        for (partition, seen) in self.figures.partitions() {
            partitions = partitions.row(partition.to_string(), describe(&seen));
        }
        sections.push(partitions);
        sections
    }
}

fn known(seen: &Seen) -> u64 {
    seen.index.sealed_digests + seen.index.open_digests
}

fn input(state: &InputState) -> String {
    match state {
        InputState::Unknown => "not asked yet".into(),
        InputState::Ready(facts) => format!("read, {} partitions, cluster {}", facts.partition_count, facts.cluster_id),
        InputState::Away(reason, _) => format!("away: {reason}"),
        InputState::Unfit(reason) => format!("not read: {reason}"),
    }
}

fn describe(seen: &Seen) -> String {
    match &seen.state {
        State::Fencing => "taking the fence".into(),
        State::Restoring(progress) => format!("replaying the changelog, {} of {}", progress.offset, progress.end),
        State::Failing(reason) => format!("failing: {reason}"),
        State::Running => {
            let lag = |lag: Option<(u64, u64)>| {
                lag.map_or("-".into(), |(records, behind_ms)| format!("{records} ({} s)", behind_ms / 1000))
            };
            let lags: Vec<_> = seen.lags.iter().map(|one| lag(*one)).collect();
            format!("{} identities, behind by {}", known(seen), lags.join(" and "))
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_state_can_be_told() {
        let figures = Arc::new(Figures::default());
        let partition = figures.enter(3);
        let admin = WorkerAdmin::new(&figures, &[], false);
        assert!(admin.not_ready().is_empty());
        partition.lag_is(0, 7, 2_500);
        partition.state_is(State::Running);
        let rows = admin.status().pop().unwrap().rows;
        assert_eq!(rows, [("3".to_owned(), "0 identities, behind by 7 (2 s) and -".to_owned())]);
        partition.state_is(State::Failing("no room".into()));
        assert_eq!(admin.not_ready(), ["partition 3: no room"]);
        assert!(admin.metrics().contains("dedup_published_events_total 0"));
    }
}
