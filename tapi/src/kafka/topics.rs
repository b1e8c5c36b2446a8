//! What a cluster has to be before it gets a record. Pure.

use std::fmt;

use wire::PartitionCount;
use wire::topic::{EVENTS, EVENTS_REJECTED};

use crate::forward::Cluster;

/// Partitions beyond which a record cannot be named any more; far beyond what a broker can carry.
pub(crate) const PARTITIONS_MAX: u32 = 65_534;
/// Replicas below which the loss of one broker's disk can lose records.
const REPLICAS_MIN: usize = 3;
/// In-sync replicas below which an acknowledgement stands on one broker alone.
const IN_SYNC_MIN: i64 = 2;

/// What was seen of a cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Its id; `None` where the brokers do not tell.
    pub cluster_id: Option<String>,
    /// Partitions of `events`; 0 where there is no such topic.
    pub partitions: u32,
    /// Fewest replicas of a partition of `events`.
    pub replicas: usize,
    /// Whether there is a topic `events.rejected`.
    pub has_rejected: bool,
    /// Settings of `events`, as far as they may be read.
    pub settings: Option<Settings>,
}

/// Settings of the topic `events`; `None` where a broker does not tell.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Settings {
    /// `cleanup.policy`.
    pub cleanup_policy: Option<String>,
    /// `message.timestamp.type`.
    pub timestamp_type: Option<String>,
    /// `retention.ms`; -1 is for ever.
    pub retention_ms: Option<i64>,
    /// `retention.bytes`; -1 is no bound.
    pub retention_bytes: Option<i64>,
    /// `min.insync.replicas`.
    pub in_sync_min: Option<i64>,
    /// `unclean.leader.election.enable`.
    pub unclean_election: Option<bool>,
}

/// Why a cluster gets no records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Misfit {
    /// There is no topic `events`.
    NoTopic,
    /// More partitions than can be named.
    TooManyPartitions(u32),
    /// Another partition count than this host has always used.
    NotAsRemembered {
        /// What the cluster has.
        cluster: u32,
        /// What is remembered.
        remembered: u32,
    },
    /// Another partition count than the other cluster.
    NotAsTheOther {
        /// What the cluster has.
        cluster: u32,
        /// What the other one has.
        other: u32,
    },
    /// Primary and secondary are one cluster.
    SameCluster(String),
    /// A setting of the topic that loses acknowledged records.
    Setting {
        /// Its name.
        name: &'static str,
        /// What it is.
        is: String,
        /// What it has to be.
        wanted: String,
    },
}

impl Misfit {
    /// Whether it may pass by itself while tapi runs: topics are often created after the first programs start.
    pub fn may_pass(&self) -> bool {
        *self == Self::NoTopic
    }
}

impl fmt::Display for Misfit {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NoTopic => write!(out, "it has no topic {EVENTS}; create it"),
            Self::TooManyPartitions(count) => {
                write!(out, "its topic {EVENTS} has {count} partitions, {PARTITIONS_MAX} are the most")
            }
            Self::NotAsRemembered { cluster, remembered } => write!(
                out,
                "its topic {EVENTS} has {cluster} partitions, but the data directory has always used {remembered}"
            ),
            Self::NotAsTheOther { cluster, other } => {
                write!(out, "its topic {EVENTS} has {cluster} partitions, that of the other cluster {other}")
            }
            Self::SameCluster(id) => {
                write!(out, "primary and secondary are the same cluster, {id}; give two, or leave the secondary empty")
            }
            Self::Setting { name, is, wanted } => {
                write!(out, "its topic {EVENTS} has {name}={is}, which loses acknowledged events; set it to {wanted}")
            }
        }
    }
}

/// Whether a cluster is what it should be. `other` is what was last seen of the other one.
///
/// # Errors
/// The first reason why it is not.
pub fn fit(
    cluster: Cluster,
    facts: &Facts,
    other: Option<&Facts>,
    remembered: Option<PartitionCount>,
    retention_ms_min: i64,
) -> Result<(), Misfit> {
    match facts.partitions {
        0 => return Err(Misfit::NoTopic),
        count if count > PARTITIONS_MAX => return Err(Misfit::TooManyPartitions(count)),
        _ => {}
    }
    if let Some(remembered) = remembered.map(PartitionCount::get).filter(|count| *count != facts.partitions) {
        return Err(Misfit::NotAsRemembered { cluster: facts.partitions, remembered });
    }
    if let Some(other) = other {
        let known = remembered.is_some();
        if !known && other.partitions != 0 && other.partitions != facts.partitions {
            return Err(Misfit::NotAsTheOther { cluster: facts.partitions, other: other.partitions });
        }
        // One of the two has to stay usable while the settings are put right.
        let same = facts.cluster_id.as_ref().filter(|id| other.cluster_id.as_ref() == Some(id));
        if let (Some(id), Cluster::Secondary) = (same, cluster) {
            return Err(Misfit::SameCluster(id.clone()));
        }
    }
    facts.settings.as_ref().map_or(Ok(()), |settings| loses_nothing(settings, retention_ms_min))
}

fn loses_nothing(settings: &Settings, retention_ms_min: i64) -> Result<(), Misfit> {
    let wrong = |name, is: &dyn fmt::Display, wanted: String| Err(Misfit::Setting { name, is: is.to_string(), wanted });
    match &settings.cleanup_policy {
        // Compaction keeps one record of a key.
        Some(policy) if policy != "delete" => return wrong("cleanup.policy", policy, "delete".into()),
        _ => {}
    }
    match &settings.timestamp_type {
        // By the producer's time, a host that drains after a week has its records deleted at the next retention check,
        // and one stamp from the future refuses its whole batch.
        Some(kind) if kind != "LogAppendTime" => {
            return wrong("message.timestamp.type", kind, "LogAppendTime".into());
        }
        _ => {}
    }
    match settings.retention_ms {
        Some(ms) if ms != -1 && ms < retention_ms_min => {
            return wrong("retention.ms", &ms, format!("{retention_ms_min} or more"));
        }
        _ => {}
    }
    match settings.retention_bytes {
        Some(bytes) if bytes != -1 => wrong("retention.bytes", &bytes, "-1".into()),
        _ => Ok(()),
    }
}

/// What should be better, though it loses nothing while all goes well.
pub fn warnings(facts: &Facts) -> Vec<String> {
    let mut out = Vec::new();
    if !facts.has_rejected {
        out.push(format!("there is no topic {EVENTS_REJECTED}: events set aside will go to the local quarantine"));
    }
    if facts.replicas < REPLICAS_MIN {
        out.push(format!(
            "{EVENTS} has {} replicas; {REPLICAS_MIN} survive the loss of a broker's disk",
            facts.replicas
        ));
    }
    let Some(settings) = &facts.settings else {
        out.push(format!("the settings of {EVENTS} cannot be read, so they are not checked"));
        return out;
    };
    if let Some(count) = settings.in_sync_min.filter(|count| *count < IN_SYNC_MIN) {
        out.push(format!("{EVENTS} has min.insync.replicas={count}: an acknowledgement may stand on one broker alone"));
    }
    if settings.unclean_election == Some(true) {
        out.push(format!("{EVENTS} has unclean.leader.election.enable=true: a failover may lose acknowledged events"));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::Cluster::{Primary, Secondary};
    use super::*;

    const WEEK_MS: i64 = 7 * 86_400_000;

    fn facts(id: &str, partitions: u32) -> Facts {
        let settings = Settings {
            cleanup_policy: Some("delete".into()),
            timestamp_type: Some("LogAppendTime".into()),
            retention_ms: Some(WEEK_MS),
            retention_bytes: Some(-1),
            in_sync_min: Some(2),
            unclean_election: Some(false),
        };
        Facts { cluster_id: Some(id.into()), partitions, replicas: 3, has_rejected: true, settings: Some(settings) }
    }

    fn count(count: u32) -> Option<PartitionCount> {
        PartitionCount::try_new(count)
    }

    #[test]
    fn clusters_must_agree_with_memory_and_with_each_other() {
        let (a, b) = (facts("a", 8), facts("b", 6));
        let fit = |facts: &Facts, other: Option<&Facts>, remembered| fit(Primary, facts, other, remembered, WEEK_MS);
        assert_eq!(fit(&a, None, None), Ok(()));
        assert_eq!(fit(&a, Some(&facts("b", 8)), count(8)), Ok(()));
        assert_eq!(fit(&a, Some(&b), None), Err(Misfit::NotAsTheOther { cluster: 8, other: 6 }));
        assert_eq!(fit(&a, Some(&b), count(8)), Ok(()), "the other one is wrong");
        assert_eq!(fit(&b, Some(&a), count(8)), Err(Misfit::NotAsRemembered { cluster: 6, remembered: 8 }));
        assert_eq!(fit(&facts("a", 0), None, None), Err(Misfit::NoTopic));
        assert!(Misfit::NoTopic.may_pass() && !Misfit::TooManyPartitions(1).may_pass());
        assert_eq!(fit(&facts("a", 65_535), None, None), Err(Misfit::TooManyPartitions(65_535)));
        let said = Misfit::NotAsTheOther { cluster: 8, other: 6 }.to_string();
        assert!(said.contains('8') && said.contains('6'), "{said}");
    }

    #[test]
    fn one_cluster_is_not_two() {
        let same = facts("a", 8);
        assert_eq!(fit(Primary, &same, Some(&same), None, WEEK_MS), Ok(()));
        assert_eq!(fit(Secondary, &same, Some(&same), None, WEEK_MS), Err(Misfit::SameCluster("a".into())));
        let silent = Facts { cluster_id: None, ..facts("", 8) };
        assert_eq!(fit(Secondary, &silent, Some(&silent), None, WEEK_MS), Ok(()));
    }

    #[test]
    fn settings_that_lose_events_are_refused() {
        let with = |change: fn(&mut Settings)| {
            let mut facts = facts("a", 8);
            change(facts.settings.as_mut().unwrap());
            match fit(Primary, &facts, None, None, WEEK_MS) {
                Err(Misfit::Setting { name, .. }) => name,
                Ok(()) => "",
                Err(other) => panic!("{other}"),
            }
        };
        assert_eq!(with(|_| ()), "");
        assert_eq!(with(|s| s.cleanup_policy = Some("compact,delete".into())), "cleanup.policy");
        assert_eq!(with(|s| s.timestamp_type = Some("CreateTime".into())), "message.timestamp.type");
        assert_eq!(with(|s| s.retention_ms = Some(WEEK_MS - 1)), "retention.ms");
        assert_eq!(with(|s| s.retention_ms = Some(-1)), "");
        assert_eq!(with(|s| s.retention_bytes = Some(1 << 30)), "retention.bytes");
        assert_eq!(with(|s| *s = Settings::default()), "", "what is not told is not refused");
    }

    #[test]
    fn what_should_be_better_is_a_warning() {
        assert_eq!(warnings(&facts("a", 8)), [""; 0]);
        let mut weak = facts("a", 8);
        weak.replicas = 1;
        weak.has_rejected = false;
        let settings = weak.settings.as_mut().unwrap();
        settings.in_sync_min = Some(1);
        settings.unclean_election = Some(true);
        assert_eq!(warnings(&weak).len(), 4);
        weak.settings = None;
        assert_eq!(warnings(&weak).len(), 3);
    }
}
