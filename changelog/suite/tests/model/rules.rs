//! What may happen in one configuration, and how often: small enough that every order of it can be tried.

use std::time::Duration;

use wire::Window;

use crate::mutant::Mutant;

/// Span of a bucket, milliseconds; the shortest that a window may have.
pub(crate) const BUCKET_MS: i64 = 1000;
/// When everything begins, milliseconds since the Unix epoch: a bucket, and a step of the clock, of any length that is used.
pub(crate) const START_MS: i64 = 1_050_000;
/// Buckets that are kept beside the clock's own: one that is promised, one of margin.
pub(crate) const KEPT_BUCKETS: u32 = 2;

/// One configuration.
#[derive(Debug, Clone, Copy)]
pub(crate) struct Rules {
    pub(crate) name: &'static str,
    /// Clusters with inputs.
    pub(crate) clusters: u8,
    /// Distinct ids.
    pub(crate) ids: u8,
    /// Times that an id is produced at most.
    pub(crate) copies: u8,
    /// Processes that would own the lane.
    pub(crate) workers: usize,
    /// Records in a batch at most.
    pub(crate) batch_max: usize,
    /// A batch has every position after so many that have not.
    pub(crate) all_every: u32,
    /// For how many buckets the clock believes that inputs keep a record; its step is a seventh of that, or one.
    pub(crate) input_buckets: u32,
    /// Whether the changelog is empty at first; else a worker owns the lane already.
    pub(crate) is_new: bool,
    /// How often things may happen.
    pub(crate) left: Left,
    /// What is done wrong on purpose.
    pub(crate) mutant: Option<Mutant>,
}

/// How often things may still happen.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Hash)]
pub(crate) struct Left {
    /// A record comes in.
    pub(crate) records: u8,
    /// One of them is of a time that the window does not reach.
    pub(crate) late: u8,
    /// A bucket's time passes.
    pub(crate) days: u8,
    /// A worker begins to take the lane over.
    pub(crate) takeovers: u8,
    /// A worker is killed.
    pub(crate) crashes: u8,
    /// A transaction is aborted.
    pub(crate) aborts: u8,
    /// Nobody knows what became of a commit.
    pub(crate) unknowns: u8,
    /// Housekeeping of the index.
    pub(crate) seals: u8,
    /// A second partition.
    pub(crate) growths: u8,
    /// A takeover by a worker that has not heard of the second partition.
    pub(crate) stales: u8,
    /// An input is made anew under the same id.
    pub(crate) recreations: u8,
    /// An input is made anew under an id of its own.
    pub(crate) renewals: u8,
    /// The newest record of an input is lost, and a new leader goes on without it.
    pub(crate) cuts: u8,
    /// Retention takes the oldest record of an input, which was read.
    pub(crate) trims: u8,
    /// Retention takes what the window does not reach from the changelog.
    pub(crate) retentions: u8,
    /// A rebuild of the changelog from the output begins.
    pub(crate) rebuilds: u8,
}

impl Rules {
    /// One input of one partition, one worker that owns the lane, and nothing that happens.
    pub(crate) const CALM: Self = Self {
        name: "",
        clusters: 1,
        ids: 2,
        copies: 2,
        workers: 1,
        batch_max: 1,
        all_every: 2,
        input_buckets: 7,
        is_new: false,
        left: Left::NONE,
        mutant: None,
    };

    /// The same, done wrong.
    pub(crate) fn with(self, mutant: Mutant) -> Self {
        Self { mutant: Some(mutant), ..self }
    }

    /// Whether it is done wrong in this way.
    pub(crate) fn is(&self, mutant: Mutant) -> bool {
        self.mutant == Some(mutant)
    }

    /// For how long the clock believes that inputs keep a record.
    pub(crate) fn input_retention(&self) -> Duration {
        bucket() * self.input_buckets
    }
}

impl Left {
    /// Nothing happens.
    pub(crate) const NONE: Self = Self {
        records: 0,
        late: 0,
        days: 0,
        takeovers: 0,
        crashes: 0,
        aborts: 0,
        unknowns: 0,
        seals: 0,
        growths: 0,
        stales: 0,
        recreations: 0,
        renewals: 0,
        cuts: 0,
        trims: 0,
        retentions: 0,
        rebuilds: 0,
    };
}

pub(crate) fn bucket() -> Duration {
    Duration::from_millis(BUCKET_MS as u64)
}

pub(crate) fn window() -> Window {
    Window::try_new(BUCKET_MS as u64, KEPT_BUCKETS - 1, 1).expect("lengths within the bounds")
}
