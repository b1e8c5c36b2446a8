//! What a cluster has to be before it gets a record. Pure.

use std::fmt;

use kafka::Facts;
use wire::LaneCount;
use wire::topic::{EVENTS, EVENTS_REJECTED, Retention};

use crate::forward::router::Cluster;

/// Partitions beyond which a record cannot be named any more; far beyond what a broker can carry.
pub(crate) const PARTITIONS_MAX: u32 = 65_534;

/// Why a cluster gets no records.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Misfit {
    /// There is no topic `events`.
    NoTopic,
    /// More partitions than can be named.
    TooManyPartitions(u32),
    /// Fewer partitions than there are lanes.
    FewerThanLanes {
        /// What the cluster has.
        partitions: u32,
        /// How many there have to be at least.
        lanes: u32,
    },
    /// Primary and secondary are one cluster.
    SameCluster(String),
    /// Settings of its topics that lose acknowledged records.
    Settings(String),
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
            Self::FewerThanLanes { partitions, lanes } => write!(
                out,
                "its topic {EVENTS} has {partitions} partitions, fewer than the {lanes} lanes; add partitions, up to a \
                 multiple of {lanes}"
            ),
            Self::SameCluster(id) => {
                write!(out, "primary and secondary are the same cluster, {id}; give two, or leave the secondary empty")
            }
            Self::Settings(reasons) => out.write_str(reasons),
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
    lanes: Option<LaneCount>,
    retention: Retention,
) -> Result<(), Misfit> {
    let partitions = partitions(facts);
    match partitions {
        0 => return Err(Misfit::NoTopic),
        count if count > PARTITIONS_MAX => return Err(Misfit::TooManyPartitions(count)),
        _ => {}
    }
    if let Some(lanes) = lanes.filter(|lanes| lanes.usable(partitions).is_none()) {
        return Err(Misfit::FewerThanLanes { partitions, lanes: lanes.get() });
    }
    if let Some(other) = other {
        // One of the two has to stay usable while the settings are put right.
        let same = facts.cluster_id().filter(|id| other.cluster_id() == Some(id));
        if let (Some(id), Cluster::Secondary) = (same, cluster) {
            return Err(Misfit::SameCluster(id.into()));
        }
    }
    facts.judge(retention).refusal().map_or(Ok(()), |reasons| Err(Misfit::Settings(reasons)))
}

/// Partitions of `events`; 0 where there is no such topic.
pub(super) fn partitions(facts: &Facts) -> u32 {
    facts.topics.get(EVENTS).map_or(0, |topic| topic.partition_count)
}

/// Those that nobody leads, ascending.
pub(super) fn leaderless(facts: &Facts) -> &[u32] {
    facts.topics.get(EVENTS).map_or(&[], |topic| &topic.leaderless)
}

/// What should be better, though it loses nothing while all goes well.
pub(crate) fn warnings(facts: &Facts, retention: Retention) -> Vec<String> {
    let mut out = Vec::new();
    if !facts.topics.contains_key(EVENTS_REJECTED) {
        out.push(format!("there is no topic {EVENTS_REJECTED}: events set aside will go to the local quarantine"));
    }
    out.extend(facts.judge(retention).warnings());
    out
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use kafka::{TopicFacts, TopicSettings};
    use wire::Window;
    use wire::topic::judge;

    use super::Cluster::{Primary, Secondary};
    use super::*;

    const SOUND: [(&str, &str); 7] = [
        ("cleanup.policy", "delete"),
        ("message.timestamp.type", "LogAppendTime"),
        ("retention.ms", "-1"),
        ("retention.bytes", "-1"),
        ("max.message.bytes", "4194304"),
        ("min.insync.replicas", "2"),
        ("unclean.leader.election.enable", "false"),
    ];

    /// The sound settings with others in place of some of them.
    fn settings(others: &[(&str, &str)]) -> TopicSettings {
        SOUND.iter().chain(others).map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect()
    }

    fn facts(id: &str, partitions: u32) -> Facts {
        let topic = TopicFacts {
            cluster_id: id.into(),
            topic_id: [1; 16],
            partition_count: partitions,
            replicas_min: 3,
            ..TopicFacts::default()
        };
        let events = (partitions > 0).then(|| (EVENTS, topic.clone()));
        let topics = events.into_iter().chain([(EVENTS_REJECTED, topic)]).collect();
        Facts { topics, settings: [(EVENTS, settings(&[])), (EVENTS_REJECTED, settings(&[]))].into() }
    }

    fn fit_primary(facts: &Facts) -> Result<(), Misfit> {
        fit(Primary, facts, None, None, Retention::default())
    }

    #[test]
    fn a_topic_has_a_partition_for_each_lane_at_least() {
        let of = |partitions, lanes| {
            fit(Primary, &facts("a", partitions), None, LaneCount::try_new(lanes), Retention::default())
        };
        assert_eq!((of(8, 0), of(8, 8), of(9, 4), of(256, 8)), (Ok(()), Ok(()), Ok(()), Ok(())));
        assert_eq!(of(7, 8), Err(Misfit::FewerThanLanes { partitions: 7, lanes: 8 }));
        let said = Misfit::FewerThanLanes { partitions: 7, lanes: 8 }.to_string();
        assert!(said.contains('7') && said.contains("multiple of 8"), "{said}");
        assert_eq!(of(0, 8), Err(Misfit::NoTopic));
        assert!(Misfit::NoTopic.may_pass() && !Misfit::TooManyPartitions(1).may_pass());
        assert_eq!(of(65_535, 8), Err(Misfit::TooManyPartitions(65_535)));
        let other = facts("b", 6);
        assert_eq!(fit(Primary, &facts("a", 8), Some(&other), None, Retention::default()), Ok(()), "each its own");
    }

    #[test]
    fn one_cluster_is_not_two() {
        let same = facts("a", 8);
        assert_eq!(fit(Primary, &same, Some(&same), None, Retention::default()), Ok(()));
        assert_eq!(
            fit(Secondary, &same, Some(&same), None, Retention::default()),
            Err(Misfit::SameCluster("a".into()))
        );
        let silent = facts("", 8);
        assert_eq!(fit(Secondary, &silent, Some(&silent), None, Retention::default()), Ok(()));
    }

    #[test]
    fn settings_that_lose_events_are_refused_in_the_words_of_the_table() {
        let with = |topic, others: &[(&str, &str)]| {
            let mut facts = facts("a", 8);
            facts.settings.insert(topic, settings(others));
            match fit_primary(&facts) {
                Err(Misfit::Settings(reasons)) => reasons,
                Ok(()) => String::new(),
                Err(other) => panic!("{other}"),
            }
        };
        for (setting, value) in [
            ("cleanup.policy", "compact,delete"),
            ("message.timestamp.type", "CreateTime"),
            ("retention.ms", "604799999"),
            ("retention.bytes", "1073741824"),
        ] {
            let wrong = [(setting, value)];
            assert_eq!(with(EVENTS, &wrong), judge(EVENTS, &wrong, Retention::default())[0].to_string());
            assert_eq!(with(EVENTS_REJECTED, &wrong), "", "{setting}");
        }
        assert_eq!(with(EVENTS, &[]), "");
        assert_eq!(with(EVENTS, &[("retention.ms", "604800000")]), "");
        let untold = Facts { settings: [(EVENTS, TopicSettings::default())].into(), ..facts("a", 8) };
        assert_eq!(fit_primary(&untold), Ok(()), "what is not told is not refused");
    }

    #[test]
    fn an_installation_decides_how_long_events_are_kept() {
        let mut facts = facts("a", 8);
        facts.settings.insert(EVENTS, settings(&[("retention.ms", "3600000")]));
        let hours = |hours| Retention::new(Window::default(), Duration::from_hours(hours));
        assert!(fit(Primary, &facts, None, None, hours(2)).is_err());
        assert_eq!(fit(Primary, &facts, None, None, hours(1)), Ok(()));
    }

    #[test]
    fn what_should_be_better_is_a_warning() {
        let warnings = |facts: &Facts| warnings(facts, Retention::default());
        assert_eq!(warnings(&facts("a", 8)), [""; 0]);
        let mut weak = facts("a", 8);
        weak.topics.remove(EVENTS_REJECTED);
        weak.topics.get_mut(EVENTS).unwrap().replicas_min = 1;
        let others = [("min.insync.replicas", "1"), ("unclean.leader.election.enable", "true")];
        weak.settings.insert(EVENTS, settings(&others));
        assert_eq!(warnings(&weak).len(), 4);
        weak.settings.clear();
        assert_eq!(warnings(&weak).len(), 3);
        let mut small = facts("a", 8);
        small.settings.insert(EVENTS_REJECTED, settings(&[("max.message.bytes", "1048588")]));
        let said = warnings(&small);
        assert!(said[0].starts_with("events.rejected has max.message.bytes=1048588, must be 4194304"), "{said:?}");
    }
}
