//! What every lane works with.

use std::path::PathBuf;
use std::sync::Arc;

use dedup::Options;
use kafka::Cluster;
use ownership::Budget;
use wire::{DigestSeed, LaneCount, Window};

use super::batch::BatchLimits;
use super::output::Output;
use super::watch::Watch;

/// What every lane works with.
#[derive(Debug)]
pub struct Plan {
    /// The cluster of output and changelog.
    pub output: Cluster,
    /// The same, watched.
    pub outputs: Arc<Output>,
    /// The inputs.
    pub watches: Vec<Arc<Watch>>,
    /// Folder of the indexes.
    pub data: PathBuf,
    /// Settings of an index.
    pub options: Options,
    /// Size of batches.
    pub limits: BatchLimits,
    /// What batches and restores share of this process's memory.
    pub(crate) budget: Arc<Budget>,
    /// Window of a changelog that does not exist yet.
    pub window: Window,
    /// How many lanes there are.
    pub lanes: LaneCount,
    /// The seed that a changelog has to have, where one is given.
    pub seed: Option<DigestSeed>,
    /// Nothing is published.
    pub is_shadow: bool,
    /// An empty changelog beside output or an index is begun anew, and one whose beginning is gone is taken as it is; else
    /// both are refused.
    pub may_begin_anew: bool,
    /// The wall clock, milliseconds since the Unix epoch.
    pub wall_ms: fn() -> i64,
}
