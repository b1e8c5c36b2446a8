//! The only place that names metrics of the drain.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use service::Section;
use service::metrics::Encoder;

use crate::figures::{Figures, State};

/// Writes the figures when they are asked for.
#[derive(Debug)]
pub(crate) struct DrainMetrics(pub(crate) Arc<Figures>);

impl Collector for DrainMetrics {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut out = Encoder::new(encoder);
        let counters = &self.0.counters;
        for (name, help, counter) in [
            ("turnstile_published_events", "Events written to the output.", &counters.published),
            ("turnstile_duplicate_events", "Events that had been written before.", &counters.duplicates),
            ("turnstile_expired_events", "Published events older than the window.", &counters.expired),
            ("turnstile_rejected_events", "Events written to the rejected files.", &counters.rejected),
            ("turnstile_unreadable_records", "Records that went into quarantine.", &counters.unreadable),
            ("turnstile_output_bytes", "Bytes written to the output.", &counters.output_bytes),
            ("turnstile_batches", "Batches put through.", &counters.batches),
            ("turnstile_drain_failures", "Times that everything was opened again.", &counters.failures),
            ("turnstile_adopted_lines", "Output lines adopted after a crash.", &counters.adopted),
        ] {
            out.counter(name, help, counter.load(Relaxed))?;
        }
        let running = self.0.state() == State::Running;
        out.gauge("turnstile_drain_running", "1 while records flow.", u64::from(running))?;
        dedup::metrics::encode(&self.0.index(), &mut out)
    }
}

impl DrainMetrics {
    /// The figures for the status page.
    pub(crate) fn sections(&self) -> Vec<Section> {
        let counters = &self.0.counters;
        let count = |counter: &std::sync::atomic::AtomicU64| counter.load(Relaxed).to_string();
        let state = match self.0.state() {
            State::Opening => "bringing output, ledger and index into step".into(),
            State::Running => "running".into(),
            State::Failing(reason) => format!("failing: {reason}"),
            State::Stopped => "stopped".into(),
        };
        vec![
            Section::new("events out")
                .row("drain", state)
                .row("published", count(&counters.published))
                .row("duplicates dropped", count(&counters.duplicates))
                .row("older than the window", count(&counters.expired))
                .row("set aside", count(&counters.rejected))
                .row("adopted after a crash", count(&counters.adopted))
                .row("failures", count(&counters.failures)),
            dedup::metrics::section(&self.0.index()),
        ]
    }

    /// Why this process should get no events now.
    pub(crate) fn not_ready(&self) -> Option<String> {
        match self.0.state() {
            State::Running | State::Stopped => None,
            State::Opening => Some("the drain is still bringing output, ledger and index into step".into()),
            State::Failing(reason) => Some(format!("the drain is failing: {reason}")),
        }
    }
}

#[cfg(test)]
mod tests {
    use prometheus_client::registry::Registry;

    use super::*;

    #[test]
    fn the_figures_of_the_index_are_there() {
        let figures = Arc::new(Figures::default());
        figures.index_is(dedup::Stats { sealed_digests: 2, open_digests: 3, ..dedup::Stats::default() });
        let mut registry = Registry::default();
        registry.register_collector(Box::new(DrainMetrics(Arc::clone(&figures))));
        assert!(service::metrics::text(&registry).contains("\ndedup_known_digests 5\n"));
        let index = DrainMetrics(figures).sections().pop().unwrap();
        assert_eq!((index.title.as_str(), &index.rows[0].1[..]), ("dedup index", "5"));
    }
}
