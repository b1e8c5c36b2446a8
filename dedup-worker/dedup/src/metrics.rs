//! The only place that names metrics of the index: every program that has one writes the same names.

use std::fmt;

use service::Section;
use service::metrics::Encoder;

use crate::stats::Stats;

/// Writes the figures of an index, or of all indexes of a process as one sum.
///
/// # Errors
/// As the writer behind it.
pub fn encode(stats: &Stats, out: &mut Encoder<'_>) -> fmt::Result {
    out.gauge("dedup_known_digests", "Identities in the window.", stats.known_digests())?;
    out.gauge("dedup_open_digests", "Identities not sealed yet.", stats.open_digests)?;
    out.gauge("dedup_open_digests_bytes", "Their memory.", stats.open_bytes)?;
    out.gauge("dedup_filter_bytes", "Memory of the filters.", filter_bytes(stats))?;
    out.gauge("dedup_filter_digests", "Identities in the filters.", stats.filter_keys)?;
    out.gauge("dedup_filter_digests_max", "Identities that the filters have room for.", stats.filter_keys_max)?;
    out.gauge("dedup_runs", "Sealed runs.", stats.runs)?;
    out.gauge("dedup_store_bytes", "Bytes of the sealed runs on disk.", stats.sealed_bytes)?;
    out.counter("dedup_filter_passes", "Identities that a filter could not call new.", stats.filter_passes)?;
    out.counter("dedup_store_reads", "Reads of a sealed run.", stats.store_reads)?;
    let help = "Times that runs were not sealed or dropped, as on a full disk.";
    out.counter("dedup_store_maintenance_failures", help, stats.maintenance_failures)
}

/// The figures for the status page.
pub fn section(stats: &Stats) -> Section {
    Section::new("dedup index")
        .row("identities", stats.known_digests().to_string())
        .row("of them in memory", stats.open_digests.to_string())
        .row("memory of filters", format!("{} KiB", filter_bytes(stats) >> 10))
        .row("sealed runs", stats.runs.to_string())
        .row("on disk", format!("{} KiB", stats.sealed_bytes >> 10))
}

/// Group filters and the runs' own: who looks at memory does not care which.
fn filter_bytes(stats: &Stats) -> u64 {
    stats.filter_bytes + stats.run_filter_bytes
}

#[cfg(test)]
mod tests {
    use prometheus_client::collector::Collector;
    use prometheus_client::encoding::DescriptorEncoder;
    use prometheus_client::registry::Registry;

    use super::*;

    #[derive(Debug)]
    struct Indexes(Vec<Stats>);

    impl Collector for Indexes {
        fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
            encode(&self.0.iter().copied().sum(), &mut Encoder::new(encoder))
        }
    }

    /// Dashboards and alerts hold on to these names; a change here is a change for whoever runs a program.
    #[test]
    fn the_names_are_these_and_two_indexes_are_written_as_their_sum() {
        let one = Stats {
            sealed_digests: 1,
            open_digests: 20,
            open_bytes: 300,
            filter_bytes: 4_000,
            run_filter_bytes: 50_000,
            filter_keys: 6,
            filter_keys_max: 70,
            runs: 8,
            sealed_bytes: 900,
            filter_passes: 10,
            store_reads: 11,
            maintenance_failures: 12,
            ..Stats::default()
        };
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Indexes(vec![one, one])));
        let text = service::metrics::text(&registry);
        let samples: Vec<&str> = text.lines().filter(|line| !line.starts_with('#')).collect();
        assert_eq!(
            samples,
            [
                "dedup_known_digests 42",
                "dedup_open_digests 40",
                "dedup_open_digests_bytes 600",
                "dedup_filter_bytes 108000",
                "dedup_filter_digests 12",
                "dedup_filter_digests_max 140",
                "dedup_runs 16",
                "dedup_store_bytes 1800",
                "dedup_filter_passes_total 20",
                "dedup_store_reads_total 22",
                "dedup_store_maintenance_failures_total 24",
            ]
        );
    }
}
