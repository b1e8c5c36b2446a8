//! What every partition works with.

use std::path::PathBuf;
use std::sync::Arc;

use dedup::Options;
use kafka::Cluster;
use wire::{PartitionCount, Window};

use super::batch::BatchLimits;
use super::watch::Watch;

/// What every partition works with.
#[derive(Debug)]
pub struct Plan {
    /// The cluster of output and changelog.
    pub output: Cluster,
    /// The inputs.
    pub watches: Vec<Arc<Watch>>,
    /// Folder of the indexes.
    pub data: PathBuf,
    /// Settings of an index.
    pub options: Options,
    /// Size of batches.
    pub limits: BatchLimits,
    /// Window of a changelog that does not exist yet.
    pub window: Window,
    /// Partitions of every topic.
    pub partition_count: PartitionCount,
    /// Nothing is published.
    pub is_shadow: bool,
    /// An empty changelog beside output or an index is begun anew, and one whose beginning is gone is taken as it is; else
    /// both are refused.
    pub may_begin_anew: bool,
    /// The wall clock, milliseconds since the Unix epoch.
    pub wall_ms: fn() -> i64,
}
