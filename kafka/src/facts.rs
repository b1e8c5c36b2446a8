//! What a cluster says of its topics: which cluster it is, which topics, how many partitions, how far they reach.
//!
//! A topic's name is no identity. A topic that was deleted and made again has the same name, and once it has grown past a
//! stored offset, reading on at that offset skips its first records without any error. Its id tells.

use std::collections::BTreeMap;

use wire::topic::{REPLICAS, Retention, judge};

use crate::{Judgement, TopicSettings};

/// The identity and size of one topic, and with it of its cluster.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct TopicFacts {
    /// The id of the cluster it is on; empty where the brokers do not tell.
    pub cluster_id: String,
    /// Its id, which no other topic ever had.
    pub topic_id: [u8; 16],
    /// Its partitions.
    pub partition_count: u32,
    /// Fewest replicas of one of them.
    pub replicas_min: u32,
}

impl TopicFacts {
    /// Whether two looks, or two lacks of one, mean the same log with the same partitions.
    pub fn is_same_log(one: Option<&Self>, other: Option<&Self>) -> bool {
        let log = |facts: &Self| (facts.cluster_id.clone(), facts.topic_id, facts.partition_count);
        one.map(log) == other.map(log)
    }
}

/// What was seen of a cluster in one look.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Facts {
    /// Of the topics that were asked for, those that are there.
    pub topics: BTreeMap<&'static str, TopicFacts>,
    /// Their settings, as far as they may be read.
    pub settings: BTreeMap<&'static str, TopicSettings>,
}

impl Facts {
    /// The id of the cluster, where its brokers tell and it has any of the topics.
    pub fn cluster_id(&self) -> Option<&str> {
        self.topics.values().next().map(|topic| topic.cluster_id.as_str()).filter(|id| !id.is_empty())
    }

    /// Enters which topics there are now. What is known of their settings stays, but for those of a topic that is gone,
    /// or another one by the same name.
    pub(crate) fn enter(&mut self, topics: BTreeMap<&'static str, TopicFacts>) {
        self.settings.retain(|name, _| match (self.topics.get(name), topics.get(name)) {
            (Some(was), Some(is)) => was.topic_id == is.topic_id,
            _ => false,
        });
        self.topics = topics;
    }

    /// Judges the topics that are there by [the table](wire::topic::RULES) of what they must be set to.
    pub fn judge(&self, retention: Retention) -> Judgement {
        let mut judgement = Judgement::default();
        for (name, topic) in &self.topics {
            let replicas = topic.replicas_min.to_string();
            let mut found = vec![(REPLICAS, replicas.as_str())];
            match self.settings.get(name) {
                Some(settings) => found.extend(settings.pairs()),
                None => judgement.untold.push(name),
            }
            for finding in judge(name, &found, retention) {
                if finding.refuse { &mut judgement.refused } else { &mut judgement.warned }.push(finding);
            }
        }
        judgement
    }
}

/// First offset that is there and the offset behind the last, of one partition.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Watermarks {
    /// Lower ones have been deleted.
    pub low: u64,
    /// Where the next record will be, open transactions included.
    pub high: u64,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn settings_stay_with_the_topic_that_has_them() {
        let topic = |id, partition_count| TopicFacts {
            cluster_id: "c".into(),
            topic_id: [id; 16],
            partition_count,
            replicas_min: 3,
        };
        let told = ["grown", "remade", "gone"].map(|name| (name, TopicSettings::default()));
        let mut facts = Facts {
            topics: [("grown", topic(1, 8)), ("remade", topic(2, 8)), ("gone", topic(3, 8))].into(),
            settings: told.into(),
        };
        facts.enter([("grown", topic(1, 16)), ("remade", topic(4, 8)), ("new", topic(5, 8))].into());
        assert_eq!(facts.settings.keys().collect::<Vec<_>>(), [&"grown"]);
        assert_eq!(facts.topics.len(), 3);
    }
}
