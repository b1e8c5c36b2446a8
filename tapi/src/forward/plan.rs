//! What the drain is told.

use std::time::Duration;

use wire::LaneCount;
use wire::topic::Retention;

use super::breaker::Limits;
use super::router::Cluster;

/// Records of a full request: librdkafka's `batch.num.messages` as it is by default. A lane that may have fewer out would
/// send more requests than it has to.
const REQUEST_RECORDS: usize = 10_000;
/// Bytes of a full request: `batch.size` as it is by default.
const REQUEST_BYTES: usize = 1_000_000;

/// What the drain is told. Whoever fills it answers for the bounds of each value.
#[derive(Debug, Clone)]
pub(crate) struct Plan {
    /// The clusters, by [`Cluster`]; one without brokers is none.
    pub clusters: [kafka::Cluster; 2],
    /// The cluster to use alone whatever happens, if any.
    pub pin: Option<Cluster>,
    /// How many lanes there are, where the settings say it.
    pub lanes: Option<LaneCount>,
    /// Time a record waits for others to be sent with, milliseconds.
    pub linger_ms: u64,
    /// What may be on its way.
    pub bounds: Bounds,
    /// How long the end waits for the buffer to empty.
    pub finish_within: Duration,
    /// How long its topics have to keep their records.
    pub retention: Retention,
    /// When to leave a cluster, and when to come back.
    pub breaker: Limits,
}

/// What may be read from the buffer and not yet safe in a cluster.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Bounds {
    /// Records, at least 1.
    pub records_max: usize,
    /// Bytes of records and of what keeps them; the last batch that is read may pass it.
    pub bytes_max: usize,
}

impl Bounds {
    /// What one lane of so many may have handed over and not acknowledged, so that one that is stuck does not hold
    /// everything. `None` where there is one lane: all is its own.
    pub(crate) fn share(self, lanes: LaneCount) -> Option<Self> {
        let lanes = lanes.get() as usize;
        (lanes > 1).then(|| Self {
            records_max: (self.records_max / lanes).max(REQUEST_RECORDS),
            bytes_max: (self.bytes_max / lanes).max(REQUEST_BYTES),
        })
    }
}

impl Plan {
    /// One of the clusters.
    pub(crate) fn cluster(&self, cluster: Cluster) -> &kafka::Cluster {
        &self.clusters[cluster as usize]
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lane_has_its_share_and_never_less_than_a_full_request() {
        let bounds = Bounds { records_max: 65_536, bytes_max: 32 << 20 };
        let share = |lanes| bounds.share(LaneCount::try_new(lanes).unwrap()).map(|it| (it.records_max, it.bytes_max));
        assert_eq!(share(1), None);
        assert_eq!(share(4), Some((16_384, 8 << 20)));
        assert_eq!(share(64), Some((REQUEST_RECORDS, REQUEST_BYTES)));
    }
}
