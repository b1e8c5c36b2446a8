//! Writing figures as Prometheus text, for collectors that read plain numbers when they are asked.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

use crate::process::ProcessFigures;

/// A scrape on its way.
pub struct Encoder<'a>(DescriptorEncoder<'a>);

/// The rows of a metric with labels.
pub struct Rows<'a>(MetricEncoder<'a>);

impl<'a> Encoder<'a> {
    /// For what a collector was given.
    pub fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self(encoder)
    }

    /// A counter; `_total` is added to its name.
    ///
    /// # Errors
    /// As the writer behind it.
    pub fn counter(&mut self, name: &str, help: &str, count: impl EncodeCounterValue + Copy) -> fmt::Result {
        let mut metric = self.0.encode_descriptor(name, help, None, MetricType::Counter)?;
        metric.encode_counter::<NoLabelSet, _, u64>(&count, None)
    }

    /// A counter with labels, its rows written by `write`.
    ///
    /// # Errors
    /// As the writer behind it.
    pub fn counters(
        &mut self,
        name: &str,
        help: &str,
        write: impl FnOnce(&mut Rows<'_>) -> fmt::Result,
    ) -> fmt::Result {
        write(&mut Rows(self.0.encode_descriptor(name, help, None, MetricType::Counter)?))
    }

    /// A gauge.
    ///
    /// # Errors
    /// As the writer behind it.
    pub fn gauge(&mut self, name: &str, help: &str, value: impl EncodeGaugeValue + Copy) -> fmt::Result {
        self.0.encode_descriptor(name, help, None, MetricType::Gauge)?.encode_gauge(&value)
    }

    /// A gauge with labels, its rows written by `write` with [`Rows::gauge`].
    ///
    /// # Errors
    /// As the writer behind it.
    pub fn gauges(&mut self, name: &str, help: &str, write: impl FnOnce(&mut Rows<'_>) -> fmt::Result) -> fmt::Result {
        write(&mut Rows(self.0.encode_descriptor(name, help, None, MetricType::Gauge)?))
    }

    /// A histogram of seconds: its sum, and each bucket's upper bound and count. Behind the last bound comes the bucket
    /// that has none, with what is `beyond`: without it a histogram has no quantiles.
    ///
    /// # Errors
    /// As the writer behind it.
    pub fn histogram_seconds(
        &mut self,
        name: &str,
        help: &str,
        sum: f64,
        buckets: impl IntoIterator<Item = (f64, u64)>,
        beyond: u64,
    ) -> fmt::Result {
        let buckets: Vec<_> = buckets.into_iter().chain([(f64::INFINITY, beyond)]).collect();
        let count = buckets.iter().map(|(_, count)| count).sum();
        let mut metric = self.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(sum, count, &buckets, None)
    }
}

impl Rows<'_> {
    /// One row.
    ///
    /// # Errors
    /// As the writer behind it.
    pub fn row<const N: usize>(&mut self, labels: [(&str, &str); N], count: u64) -> fmt::Result {
        self.0.encode_family(&labels)?.encode_counter::<NoLabelSet, _, u64>(&count, None)
    }

    /// One row of a gauge.
    ///
    /// # Errors
    /// As the writer behind it.
    pub fn gauge<const N: usize>(
        &mut self,
        labels: [(&str, &str); N],
        value: impl EncodeGaugeValue + Copy,
    ) -> fmt::Result {
        self.0.encode_family(&labels)?.encode_gauge(&value)
    }

    /// A row that has ever counted: most combinations of labels never do.
    ///
    /// # Errors
    /// As the writer behind it.
    pub fn some<const N: usize>(&mut self, labels: [(&str, &str); N], count: u64) -> fmt::Result {
        if count == 0 { Ok(()) } else { self.row(labels, count) }
    }
}

/// A registry for a process, with what every process tells of itself.
pub fn registry() -> Registry {
    let mut registry = Registry::default();
    registry.register_collector(Box::new(ProcessFigures));
    registry
}

/// The text of all that is registered, in the OpenMetrics format.
pub fn text(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing into a string does not fail.
    let _ = prometheus_client::encoding::text::encode(&mut text, registry);
    text
}

/// The same in the older text format of Prometheus (0.0.4), for who does not ask for OpenMetrics. There a counter's
/// description carries the name of its rows, with `_total`; units and the mark of the end are not known.
pub(crate) fn as_prometheus_text(open_metrics: &str) -> String {
    let is_counter = |name: &str| {
        open_metrics.contains(&format!("\n# TYPE {name} counter\n"))
            || open_metrics.starts_with(&format!("# TYPE {name} counter\n"))
    };
    let mut text = String::with_capacity(open_metrics.len() + 1024);
    for line in open_metrics.lines() {
        let described = ["# HELP ", "# TYPE "].into_iter().find_map(|kind| Some((kind, line.strip_prefix(kind)?)));
        let described = described.and_then(|(kind, rest)| Some((kind, rest.split_once(' ')?)));
        if let Some((kind, (name, rest))) = described.filter(|(_, (name, _))| is_counter(name)) {
            text.extend([kind, name, "_total ", rest, "\n"]);
        } else if described.is_some() || !line.starts_with('#') {
            text.extend([line, "\n"]);
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use prometheus_client::collector::Collector;

    use super::*;

    #[derive(Debug)]
    struct Figures;

    impl Collector for Figures {
        fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
            let mut out = Encoder::new(encoder);
            out.counter("things", "Things done.", 3_u64)?;
            out.gauge("level", "How full.", 0.5)?;
            out.histogram_seconds("wait", "How long.", 7.5, [(0.1, 2), (1.0, 3)], 1)
        }
    }

    const OPEN_METRICS: &str = "\
# HELP things Things done.
# TYPE things counter
things_total 3
# HELP level How full.
# TYPE level gauge
level 0.5
# HELP wait_seconds How long.
# TYPE wait_seconds histogram
# UNIT wait_seconds seconds
wait_seconds_sum 7.5
wait_seconds_count 6
wait_seconds_bucket{le=\"0.1\"} 2
wait_seconds_bucket{le=\"1.0\"} 5
wait_seconds_bucket{le=\"+Inf\"} 6
# EOF
";

    #[test]
    fn a_histogram_ends_in_the_bucket_without_a_bound() {
        let mut registry = Registry::default();
        registry.register_collector(Box::new(Figures));
        assert_eq!(text(&registry), OPEN_METRICS);
    }

    #[test]
    fn the_older_format_names_counters_as_their_rows_and_knows_no_units() {
        let expected = OPEN_METRICS
            .replace("# HELP things ", "# HELP things_total ")
            .replace("# TYPE things ", "# TYPE things_total ")
            .replace("# UNIT wait_seconds seconds\n", "")
            .replace("# EOF\n", "");
        assert_eq!(as_prometheus_text(OPEN_METRICS), expected);
        assert_eq!(as_prometheus_text("# EOF\n"), "");
    }
}
