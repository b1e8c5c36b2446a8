//! What the drain is told.

use std::time::Duration;

use wire::LaneCount;
use wire::topic::Retention;

use super::breaker::Limits;
use super::router::Cluster;

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
    /// Bytes of records; the last batch that is read may pass it.
    pub bytes_max: usize,
}

impl Plan {
    /// One of the clusters.
    pub(crate) fn cluster(&self, cluster: Cluster) -> &kafka::Cluster {
        &self.clusters[cluster as usize]
    }
}
