//! Writing figures as Prometheus text, for collectors that read plain numbers when they are asked.

use std::fmt;

use prometheus_client::encoding::{DescriptorEncoder, EncodeCounterValue, EncodeGaugeValue, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::MetricType;
use prometheus_client::registry::{Registry, Unit};

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

    /// A histogram of seconds: its sum, and each bucket's upper bound and count.
    ///
    /// # Errors
    /// As the writer behind it.
    pub fn histogram_seconds(&mut self, name: &str, help: &str, sum: f64, buckets: &[(f64, u64)]) -> fmt::Result {
        let count = buckets.iter().map(|(_, count)| count).sum();
        let mut metric = self.0.encode_descriptor(name, help, Some(&Unit::Seconds), MetricType::Histogram)?;
        metric.encode_histogram::<NoLabelSet>(sum, count, buckets, None)
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

/// The text of all that is registered.
pub fn text(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing into a string does not fail.
    let _ = prometheus_client::encoding::text::encode(&mut text, registry);
    text
}
