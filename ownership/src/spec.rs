//! What all lanes of one kind have in common.

use std::ffi::CStr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use changelog::Beginning;
use kafka::Cluster;

use crate::Budget;

/// What all lanes of one kind have in common.
#[derive(Debug, Clone)]
pub struct Spec {
    /// The cluster of the log.
    pub cluster: Cluster,
    /// The log's topic, for librdkafka.
    pub log: &'static CStr,
    /// The same, for everybody else.
    pub topic: &'static str,
    /// Topics that outputs go to in every transaction, three at most: whoever is to take the fence learns who leads them
    /// beforehand. One that is seldom written to does not belong here: librdkafka looks at all partitions of all topics that it
    /// knows each time it sends.
    pub outputs: &'static [&'static CStr],
    /// What the fence's transactional id begins with; the lane's number follows.
    pub fence: &'static str,
    /// The group in which processes share the lanes.
    pub group: String,
    /// This process's own id in the group, by which it gets its lanes back where it comes back within a session.
    pub member: Option<String>,
    /// Time after which a process that went silent is replaced.
    pub session: Duration,
    /// Longest life of a transaction, and of a wait for one.
    pub transaction_max: Duration,
    /// Folder of the states.
    pub data: PathBuf,
    /// What a state's folder is called below it, before the lane's number.
    pub folder: &'static str,
    /// Where records are gone from a log's beginning.
    pub beginning: Beginning,
    /// The lane that a record of the log names, where it can be read so far.
    pub lane_of: fn(&[u8]) -> Option<u32>,
    /// What to do about a log that is lost or damaged, as the end of a sentence.
    pub remedy: &'static str,
    /// The same, where only the beginning is missing.
    pub remedy_beginning: &'static str,
    /// What batches and restores share of this process's memory.
    pub memory: Arc<Budget>,
    /// Nothing is committed: the state of a lane is made, and what is decided is only counted.
    pub is_shadow: bool,
    /// Told of each step, for tests that kill or stop the process there.
    pub at: fn(Step),
}

/// The steps between which a crash makes a difference, in the order in which a lane meets them.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub enum Step {
    /// The state is where the log is, as far as that could be read without the fence, and the group has confirmed the lane;
    /// the fence is not taken.
    Fencing,
    /// The fence is taken; the group is not asked again.
    Fenced,
    /// The group was asked again; the log's end is not measured.
    Confirmed,
    /// The end is measured; the rest is not replayed.
    Measured,
    /// Some of the log is replayed, before the fence or behind it. A pass is a record.
    Restoring,
    /// The state is at the measured end; the checkpoint is not written.
    Restored,
    /// The checkpoint is committed; no work was done.
    Checkpointed,
    /// A batch is gathered; it is not handed over.
    Decided,
    /// The outputs and the log's record are acknowledged; the commit is not asked for.
    BeforeCommit,
    /// The commit is confirmed; the state does not know.
    Committed,
    /// The state knows, and what follows a commit was done.
    Applied,
}

impl Step {
    /// All of them, in their order.
    pub const ALL: [Self; 11] = [
        Self::Fencing,
        Self::Fenced,
        Self::Confirmed,
        Self::Measured,
        Self::Restoring,
        Self::Restored,
        Self::Checkpointed,
        Self::Decided,
        Self::BeforeCommit,
        Self::Committed,
        Self::Applied,
    ];

    /// What it is called where one is named.
    pub fn name(self) -> &'static str {
        match self {
            Self::Fencing => "fencing",
            Self::Fenced => "fenced",
            Self::Confirmed => "confirmed",
            Self::Measured => "measured",
            Self::Restoring => "restoring",
            Self::Restored => "restored",
            Self::Checkpointed => "checkpointed",
            Self::Decided => "decided",
            Self::BeforeCommit => "before-commit",
            Self::Committed => "committed",
            Self::Applied => "applied",
        }
    }
}

impl Spec {
    /// The one transactional id of a lane, the same for every process there will ever be.
    pub fn transactional_id(&self, lane: u32) -> String {
        format!("{}.{lane}", self.fence)
    }

    /// Folder of one lane's state.
    pub fn dir(&self, lane: u32) -> PathBuf {
        dir(&self.data, self.folder, lane)
    }
}

/// Folder of one lane's state below the data folder.
pub(crate) fn dir(data: &Path, folder: &str, lane: u32) -> PathBuf {
    data.join(format!("{folder}-{lane:05}"))
}
