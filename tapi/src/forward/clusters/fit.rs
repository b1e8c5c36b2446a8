//! What a cluster has to be before it gets a record. Pure.

use std::fmt;

use kafka::{Facts, TopicSettings};
use wire::PartitionCount;
use wire::topic::{EVENTS, EVENTS_REJECTED};

use crate::forward::router::Cluster;

/// Partitions beyond which a record cannot be named any more; far beyond what a broker can carry.
pub(crate) const PARTITIONS_MAX: u32 = 65_534;
/// Replicas below which the loss of one broker's disk can lose records.
const REPLICAS_MIN: u32 = 3;
/// In-sync replicas below which an acknowledgement stands on one broker alone.
const IN_SYNC_MIN: i64 = 2;

/// Why a cluster gets no records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Misfit {
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
    pub(crate) fn may_pass(&self) -> bool {
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
pub(crate) fn fit(
    cluster: Cluster,
    facts: &Facts,
    other: Option<&Facts>,
    remembered: Option<PartitionCount>,
    retention_ms_min: i64,
) -> Result<(), Misfit> {
    let partitions = partitions(facts);
    match partitions {
        0 => return Err(Misfit::NoTopic),
        count if count > PARTITIONS_MAX => return Err(Misfit::TooManyPartitions(count)),
        _ => {}
    }
    if let Some(remembered) = remembered.map(PartitionCount::get).filter(|count| *count != partitions) {
        return Err(Misfit::NotAsRemembered { cluster: partitions, remembered });
    }
    if let Some(other) = other {
        let known = remembered.is_some();
        let other_partitions = self::partitions(other);
        if !known && other_partitions != 0 && other_partitions != partitions {
            return Err(Misfit::NotAsTheOther { cluster: partitions, other: other_partitions });
        }
        // One of the two has to stay usable while the settings are put right.
        let same = facts.cluster_id().filter(|id| other.cluster_id() == Some(id));
        if let (Some(id), Cluster::Secondary) = (same, cluster) {
            return Err(Misfit::SameCluster(id.into()));
        }
    }
    facts.settings.get(EVENTS).map_or(Ok(()), |settings| loses_nothing(settings, retention_ms_min))
}

/// Partitions of `events`; 0 where there is no such topic.
pub(super) fn partitions(facts: &Facts) -> u32 {
    facts.topics.get(EVENTS).map_or(0, |topic| topic.partition_count)
}

fn loses_nothing(settings: &TopicSettings, retention_ms_min: i64) -> Result<(), Misfit> {
    let wrong = |name, is: &dyn fmt::Display, wanted: String| Err(Misfit::Setting { name, is: is.to_string(), wanted });
    match settings.get("cleanup.policy") {
        // Compaction keeps one record of a key.
        Some(policy) if policy != "delete" => return wrong("cleanup.policy", &policy, "delete".into()),
        _ => {}
    }
    match settings.get("message.timestamp.type") {
        // By the producer's time, a host that drains after a week has its records deleted at the next retention check,
        // and one stamp from the future refuses its whole batch.
        Some(kind) if kind != "LogAppendTime" => {
            return wrong("message.timestamp.type", &kind, "LogAppendTime".into());
        }
        _ => {}
    }
    match settings.number("retention.ms") {
        Some(ms) if ms != -1 && ms < retention_ms_min => {
            return wrong("retention.ms", &ms, format!("{retention_ms_min} or more"));
        }
        _ => {}
    }
    match settings.number("retention.bytes") {
        Some(bytes) if bytes != -1 => wrong("retention.bytes", &bytes, "-1".into()),
        _ => Ok(()),
    }
}

/// What should be better, though it loses nothing while all goes well.
pub(crate) fn warnings(facts: &Facts) -> Vec<String> {
    let mut out = Vec::new();
    if !facts.topics.contains_key(EVENTS_REJECTED) {
        out.push(format!("there is no topic {EVENTS_REJECTED}: events set aside will go to the local quarantine"));
    }
    let replicas = facts.topics.get(EVENTS).map_or(0, |topic| topic.replicas_min);
    if replicas < REPLICAS_MIN {
        out.push(format!("{EVENTS} has {replicas} replicas; {REPLICAS_MIN} survive the loss of a broker's disk"));
    }
    let Some(settings) = facts.settings.get(EVENTS) else {
        out.push(format!("the settings of {EVENTS} cannot be read, so they are not checked"));
        return out;
    };
    if let Some(count) = settings.number("min.insync.replicas").filter(|count| *count < IN_SYNC_MIN) {
        out.push(format!("{EVENTS} has min.insync.replicas={count}: an acknowledgement may stand on one broker alone"));
    }
    if settings.get("unclean.leader.election.enable") == Some("true") {
        out.push(format!("{EVENTS} has unclean.leader.election.enable=true: a failover may lose acknowledged events"));
    }
    out
}

#[cfg(test)]
mod tests {
    use kafka::TopicFacts;

    use super::Cluster::{Primary, Secondary};
    use super::*;

    const WEEK_MS: i64 = 7 * 86_400_000;

    const SOUND: [(&str, &str); 6] = [
        ("cleanup.policy", "delete"),
        ("message.timestamp.type", "LogAppendTime"),
        ("retention.ms", "604800000"),
        ("retention.bytes", "-1"),
        ("min.insync.replicas", "2"),
        ("unclean.leader.election.enable", "false"),
    ];

    /// The sound settings with others in place of some of them.
    fn settings(others: &[(&str, &str)]) -> TopicSettings {
        SOUND.iter().chain(others).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn facts(id: &str, partitions: u32) -> Facts {
        let topic =
            TopicFacts { cluster_id: id.into(), topic_id: [1; 16], partition_count: partitions, replicas_min: 3 };
        let events = (partitions > 0).then(|| (EVENTS, topic.clone()));
        let topics = events.into_iter().chain([(EVENTS_REJECTED, topic)]).collect();
        Facts { topics, settings: [(EVENTS, settings(&[]))].into() }
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
        let silent = facts("", 8);
        assert_eq!(fit(Secondary, &silent, Some(&silent), None, WEEK_MS), Ok(()));
    }

    #[test]
    fn settings_that_lose_events_are_refused() {
        let with = |others: &[(&str, &str)]| {
            let mut facts = facts("a", 8);
            facts.settings.insert(EVENTS, settings(others));
            match fit(Primary, &facts, None, None, WEEK_MS) {
                Err(Misfit::Setting { name, .. }) => name,
                Ok(()) => "",
                Err(other) => panic!("{other}"),
            }
        };
        assert_eq!(with(&[]), "");
        assert_eq!(with(&[("cleanup.policy", "compact,delete")]), "cleanup.policy");
        assert_eq!(with(&[("message.timestamp.type", "CreateTime")]), "message.timestamp.type");
        assert_eq!(with(&[("retention.ms", &(WEEK_MS - 1).to_string())]), "retention.ms");
        assert_eq!(with(&[("retention.ms", "-1")]), "");
        assert_eq!(with(&[("retention.bytes", "1073741824")]), "retention.bytes");
        let untold = Facts { settings: [(EVENTS, TopicSettings::default())].into(), ..facts("a", 8) };
        assert_eq!(fit(Primary, &untold, None, None, WEEK_MS), Ok(()), "what is not told is not refused");
    }

    #[test]
    fn what_should_be_better_is_a_warning() {
        assert_eq!(warnings(&facts("a", 8)), [""; 0]);
        let mut weak = facts("a", 8);
        weak.topics.remove(EVENTS_REJECTED);
        weak.topics.get_mut(EVENTS).unwrap().replicas_min = 1;
        let others = [("min.insync.replicas", "1"), ("unclean.leader.election.enable", "true")];
        weak.settings.insert(EVENTS, settings(&others));
        assert_eq!(warnings(&weak).len(), 4);
        weak.settings.clear();
        assert_eq!(warnings(&weak).len(), 3);
    }
}
