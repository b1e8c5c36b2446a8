//! The filters in front of the runs.
//!
//! Two kinds, because they answer two questions:
//!
//! - *Whether* a fingerprint may be in any run of a [`Group`](groups::Group): asked for every event and every group, so
//!   it has to cost one cache line that was prefetched. [`blocked`], 2 bytes an identity, lets about 1 in 1,000 through.
//! - *Which* run of the group it is in: asked for the few that pass. The `bloomfilter` crate's, kept inside the run;
//!   made when the index is opened where a run was sealed without it, as a rebuild does.

pub(crate) mod blocked;
pub(crate) mod groups;
