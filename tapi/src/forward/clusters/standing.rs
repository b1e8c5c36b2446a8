//! What is known of a cluster, and what follows from it. Pure.

use std::sync::Arc;

use kafka::Facts;
use wire::LaneCount;
use wire::topic::{EVENTS, EVENTS_REJECTED, Retention};

use super::board::Seen;
use super::fit::{Misfit, fit, leaderless, partitions};
use crate::forward::router::Cluster;

/// What is known of a cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) enum Standing {
    /// The settings name no broker of it: there is no such cluster.
    Unconfigured,
    /// It has not been seen yet, for this reason.
    Unseen(String),
    /// It is what it should be.
    Fit(Arc<Facts>),
    /// It has been seen, and is not what it should be.
    Misfit(Misfit),
}

impl Default for Standing {
    /// That of a cluster at which nobody has looked yet.
    fn default() -> Self {
        Self::Unseen("no answer yet".into())
    }
}

impl Standing {
    /// What both clusters are, as last seen. `lanes` is how many lanes there are, where it is known, and
    /// `retention` how long the topics have to keep their records.
    pub(crate) fn of_both(seen: &[Seen; 2], lanes: Option<LaneCount>, retention: Retention) -> [Self; 2] {
        Cluster::BOTH.map(|cluster| match &seen[cluster as usize] {
            Seen::NoCluster => Self::Unconfigured,
            Seen::Nothing => Self::default(),
            Seen::Silence(reason) => Self::Unseen(reason.clone()),
            Seen::Facts(facts) => {
                let other = seen[cluster.other() as usize].facts();
                fit(cluster, facts, other, lanes, retention)
                    .map_or_else(Self::Misfit, |()| Self::Fit(Arc::clone(facts)))
            }
        })
    }

    /// Whether it may get records.
    pub(crate) fn is_fit(&self) -> bool {
        matches!(self, Self::Fit(_))
    }

    /// Whether it stays unusable until somebody does something: waiting changes nothing.
    pub(crate) fn is_final(&self) -> bool {
        match self {
            Self::Unconfigured => true,
            Self::Misfit(misfit) => !misfit.may_pass(),
            Self::Unseen(_) | Self::Fit(_) => false,
        }
    }

    /// How many partitions its topic has, where it is fit.
    pub(crate) fn partitions(&self) -> Option<u32> {
        match self {
            Self::Fit(facts) => Some(partitions(facts)),
            Self::Unconfigured | Self::Unseen(_) | Self::Misfit(_) => None,
        }
    }

    /// Partitions of its topic that nobody leads, ascending, where it is fit.
    pub(crate) fn leaderless(&self) -> &[u32] {
        match self {
            Self::Fit(facts) => leaderless(facts),
            Self::Unconfigured | Self::Unseen(_) | Self::Misfit(_) => &[],
        }
    }

    /// Bytes that its topic takes at once, where that is told.
    pub(crate) fn batch_bytes(&self) -> Option<usize> {
        match self {
            Self::Fit(facts) => facts.settings.get(EVENTS)?.record_bytes_max(),
            Self::Unconfigured | Self::Unseen(_) | Self::Misfit(_) => None,
        }
    }

    /// Whether another standing differs in more than which partitions are led.
    pub(crate) fn differs(&self, other: &Self) -> bool {
        let led = |facts: &Facts| {
            let mut facts = facts.clone();
            facts.topics.values_mut().for_each(|topic| topic.leaderless.clear());
            facts
        };
        match (self, other) {
            (Self::Fit(one), Self::Fit(other)) => led(one) != led(other),
            _ => self != other,
        }
    }

    /// Whether it takes events that were set aside.
    pub(crate) fn takes_rejected(&self) -> bool {
        matches!(self, Self::Fit(facts) if facts.topics.contains_key(EVENTS_REJECTED))
    }

    /// Why it gets no records whatever its breaker says, for people; `None` where it may.
    pub(crate) fn why_unusable(&self) -> Option<String> {
        match self {
            Self::Unconfigured => Some("not configured".into()),
            Self::Unseen(reason) => Some(reason.clone()),
            Self::Fit(_) => None,
            Self::Misfit(misfit) => Some(misfit.to_string()),
        }
    }
}

#[cfg(test)]
mod tests {
    use kafka::TopicFacts;
    use wire::topic::EVENTS;

    use super::*;

    fn facts(id: &str, partition_count: u32) -> Seen {
        let topic = TopicFacts {
            cluster_id: id.into(),
            topic_id: [1; 16],
            partition_count,
            replicas_min: 3,
            ..TopicFacts::default()
        };
        let topics = [(EVENTS, topic.clone()), (EVENTS_REJECTED, topic)];
        let topics = topics.into_iter().filter(|(name, _)| *name != EVENTS || partition_count > 0).collect();
        Seen::Facts(Arc::new(Facts { topics, ..Facts::default() }))
    }

    fn both(primary: Seen, secondary: Seen, lanes: Option<u32>) -> [Standing; 2] {
        Standing::of_both(&[primary, secondary], lanes.and_then(LaneCount::try_new), Retention::default())
    }

    #[test]
    fn each_sight_has_its_standing() {
        let [primary, secondary] = both(facts("a", 8), Seen::NoCluster, None);
        assert!(primary.is_fit() && !primary.is_final() && primary.takes_rejected(), "{primary:?}");
        assert_eq!((primary.partitions(), primary.why_unusable()), (Some(8), None));
        assert_eq!(secondary, Standing::Unconfigured);
        assert!(!secondary.is_fit() && secondary.is_final() && !secondary.takes_rejected());
        assert_eq!(secondary.why_unusable().unwrap(), "not configured");

        let [primary, secondary] = both(Seen::Nothing, Seen::Silence("down".into()), None);
        assert_eq!((&primary, &secondary), (&Standing::default(), &Standing::Unseen("down".into())));
        assert!([&primary, &secondary].iter().all(|standing| !standing.is_fit() && !standing.is_final()));
        assert_eq!(primary.why_unusable().unwrap(), "no answer yet");
        assert_eq!((secondary.partitions(), secondary.why_unusable().unwrap()), (None, "down".into()));

        let [primary, _] = both(facts("a", 0), Seen::Nothing, None);
        assert_eq!(primary, Standing::Misfit(Misfit::NoTopic));
        assert!(!primary.is_fit() && !primary.is_final(), "the topic may be created");
        let [primary, _] = both(facts("a", 4), Seen::Nothing, Some(6));
        assert_eq!(primary, Standing::Misfit(Misfit::FewerThanLanes { partitions: 4, lanes: 6 }));
        assert!(primary.is_final() && primary.why_unusable().unwrap().contains("the 6 lanes"));
    }

    #[test]
    fn which_partitions_are_led_is_no_other_standing() {
        let led = |leaderless: Vec<u32>, partition_count| {
            let topic = TopicFacts { partition_count, leaderless, replicas_min: 3, ..TopicFacts::default() };
            Standing::Fit(Arc::new(Facts { topics: [(EVENTS, topic)].into(), ..Facts::default() }))
        };
        let (all, some, more) = (led(vec![], 8), led(vec![3], 8), led(vec![3], 16));
        assert!(all != some && !all.differs(&some) && some.differs(&more));
        assert_eq!(
            (some.leaderless(), all.leaderless(), Standing::Unconfigured.leaderless()),
            (&[3][..], &[][..], &[][..])
        );
        assert!(all.differs(&Standing::Unconfigured) && !Standing::Unconfigured.differs(&Standing::Unconfigured));
    }

    #[test]
    fn each_cluster_is_judged_beside_the_other_one() {
        let [primary, secondary] = both(facts("a", 8), facts("b", 6), Some(8));
        assert!(primary.is_fit(), "the other one is wrong: {primary:?}");
        assert_eq!(secondary, Standing::Misfit(Misfit::FewerThanLanes { partitions: 6, lanes: 8 }));
        let [primary, secondary] = both(facts("a", 8), facts("a", 8), None);
        assert!(primary.is_fit(), "one of the two stays usable: {primary:?}");
        assert_eq!(secondary, Standing::Misfit(Misfit::SameCluster("a".into())));
    }

    #[test]
    fn without_a_topic_for_them_events_set_aside_are_not_taken() {
        let topic = TopicFacts {
            cluster_id: "a".into(),
            topic_id: [1; 16],
            partition_count: 8,
            replicas_min: 3,
            ..TopicFacts::default()
        };
        let facts = Facts { topics: [(EVENTS, topic)].into(), ..Facts::default() };
        assert!(!Standing::Fit(Arc::new(facts)).takes_rejected());
    }
}
