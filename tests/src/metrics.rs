//! Reading Prometheus text.

/// One reading of `/metrics`.
#[derive(Debug, Clone, Default)]
pub struct Metrics {
    samples: Vec<(String, f64)>,
}

impl Metrics {
    /// Reads the text format; lines that are no samples are passed over.
    pub fn parse(text: &str) -> Self {
        let sample = |line: &str| {
            let (series, value) = line.rsplit_once(' ')?;
            (!line.starts_with('#')).then_some((series.to_owned(), value.parse().ok()?))
        };
        Self { samples: text.lines().filter_map(sample).collect() }
    }

    /// The sum over all series of a metric; `None` when there is none.
    pub fn sum(&self, name: &str) -> Option<f64> {
        self.sum_where(name, "")
    }

    /// The sum over those of a metric's series whose labels contain a text such as `code="too_deep"`.
    pub fn sum_where(&self, name: &str, label: &str) -> Option<f64> {
        let values = self.samples.iter().filter(|(series, _)| {
            series.strip_prefix(name).is_some_and(|labels| labels.is_empty() || labels.starts_with('{'))
                && series.contains(label)
        });
        values.map(|(_, value)| *value).reduce(|sum, value| sum + value)
    }
}

#[cfg(test)]
mod tests {
    use super::Metrics;

    #[test]
    fn sums_the_series_of_one_name_only() {
        let metrics = Metrics::parse("# TYPE a gauge\na{x=\"1\"} 2\na{x=\"2\"} 3.5\na_total 7\n# EOF\n");
        assert_eq!(metrics.sum("a"), Some(5.5));
        assert_eq!(metrics.sum_where("a", "x=\"2\""), Some(3.5));
        assert_eq!(metrics.sum("a_total"), Some(7.0));
        assert_eq!(metrics.sum("b"), None);
    }
}
