//! Placeholder front page.

mod batch;
mod decide;
mod error;
mod filter;
mod fingerprint;
mod home;
mod open;
mod options;
mod partition;
mod point;
mod prefetch;
mod run;
mod sealed;
mod stats;
mod store;

pub use batch::DecidedBatch;
pub use decide::{Verdict, verdict};
pub use error::{IndexError, Remedy};
pub use options::{BlockCache, Options};
pub use partition::{Candidate, PENDING_BATCHES_MAX, Partition, Replay};
pub use point::ChangelogPoint;
pub use stats::{Maintenance, Stats};
