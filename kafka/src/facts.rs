//! What a cluster says of its topics: which cluster it is, which topics, how many partitions, how far they reach.
//!
//! A topic's name is no identity. A topic that was deleted and made again has the same name, and once it has grown past a
//! stored offset, reading on at that offset skips its first records without any error. Its id tells.

use std::collections::BTreeMap;

use wire::topic::{REPLICAS, Retention, judge};

use crate::{Judgement, TopicSettings};

/// The identity and size of one topic, and with it of its cluster.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TopicFacts {
    /// The id of the cluster it is on; empty where the brokers do not tell.
    pub cluster_id: String,
    /// Its id, which no other topic ever had.
    pub topic_id: [u8; 16],
    /// Its partitions.
    pub partition_count: u32,
    /// Fewest replicas of one of them.
    pub replicas_min: u32,
    /// Those of its partitions that nobody led when this was told, ascending.
    pub leaderless: Vec<u32>,
}

impl TopicFacts {
    /// Whether two looks, or two lacks of one, mean the same log: the same topic of the same cluster. It may have grown by
    /// partitions meanwhile.
    pub fn is_same_log(one: Option<&Self>, other: Option<&Self>) -> bool {
        fn log(facts: &TopicFacts) -> (&str, [u8; 16]) {
            (&facts.cluster_id, facts.topic_id)
        }
        one.map(log) == other.map(log)
    }

    /// What several brokers tell of one topic, those that have not heard of it left out: of the one that has heard of the most
    /// partitions.
    pub(crate) fn widest(told: Vec<Self>) -> Result<Self, &'static str> {
        if told.windows(2).any(|two| two[0].topic_id != two[1].topic_id) {
            return Err("brokers name different topics; it was made anew, and not every broker has heard of it yet");
        }
        told.into_iter().max_by_key(|facts| facts.partition_count).ok_or("there is no such topic")
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

    /// What of it is of these topics.
    #[must_use]
    pub fn of(&self, topics: &[&str]) -> Self {
        let (mut topics_of, mut settings) = (self.topics.clone(), self.settings.clone());
        topics_of.retain(|name, _| topics.contains(name));
        settings.retain(|name, _| topics.contains(name));
        Self { topics: topics_of, settings }
    }

    /// Enters which topics there are now, and tells whether any of them was not there before. What is known of their
    /// settings stays, but for those of a topic that is gone, or another one by the same name.
    pub(crate) fn enter(&mut self, topics: BTreeMap<&'static str, TopicFacts>) -> bool {
        let was_there = |name: &&'static str| {
            let (was, is) = (self.topics.get(name), topics.get(name));
            is.is_some() && TopicFacts::is_same_log(was, is)
        };
        self.settings.retain(|name, _| was_there(name));
        let is_new = !topics.keys().all(was_there);
        self.topics = topics;
        is_new
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

    fn topic(id: u8, partition_count: u32) -> TopicFacts {
        TopicFacts { cluster_id: "c".into(), topic_id: [id; 16], partition_count, ..TopicFacts::default() }
    }

    #[test]
    fn settings_stay_with_the_topic_that_has_them() {
        let told = ["grown", "remade", "gone"].map(|name| (name, TopicSettings::default()));
        let mut facts = Facts {
            topics: [("grown", topic(1, 8)), ("remade", topic(2, 8)), ("gone", topic(3, 8))].into(),
            settings: told.into(),
        };
        let is_new = facts.enter([("grown", topic(1, 16)), ("remade", topic(4, 8)), ("new", topic(5, 8))].into());
        assert!(is_new);
        assert_eq!(facts.settings.keys().collect::<Vec<_>>(), [&"grown"]);
        assert_eq!(facts.topics.len(), 3);
    }

    #[test]
    fn a_topic_is_new_when_it_appears_or_is_another_one_and_not_when_it_changes_its_size_or_leaders() {
        let mut facts = Facts::default();
        assert!(facts.enter([("one", topic(1, 8))].into()));
        let grown = TopicFacts { leaderless: vec![3], replicas_min: 2, ..topic(1, 16) };
        assert!(!facts.enter([("one", grown)].into()));
        assert_eq!((facts.topics["one"].partition_count, facts.topics["one"].leaderless.len()), (16, 1));
        assert!(facts.enter([("one", topic(1, 16)), ("another", topic(2, 8))].into()));
        assert!(!facts.enter([("one", topic(1, 16))].into()), "one is gone");
        assert!(facts.enter([("one", topic(3, 16))].into()));
        assert!(!facts.enter(BTreeMap::new()));
    }

    #[test]
    fn the_broker_that_has_heard_of_the_most_partitions_is_right() {
        let led = TopicFacts { leaderless: vec![9], ..topic(1, 16) };
        assert_eq!(TopicFacts::widest(vec![topic(1, 8), led.clone(), topic(1, 12)]), Ok(led));
        assert!(TopicFacts::widest(vec![topic(1, 8), topic(2, 8)]).unwrap_err().contains("different topics"));
        assert_eq!(TopicFacts::widest(Vec::new()), Err("there is no such topic"));
    }

    #[test]
    fn each_hears_of_its_own_topics() {
        let told = ["one", "another"].map(|name| (name, TopicSettings::default()));
        let facts = Facts { topics: [("one", topic(1, 8)), ("another", topic(2, 8))].into(), settings: told.into() };
        let of = facts.of(&["another", "missing"]);
        assert_eq!(of.topics.keys().chain(of.settings.keys()).collect::<Vec<_>>(), [&"another", &"another"]);
    }

    #[test]
    fn a_log_is_the_same_however_many_partitions_it_has() {
        let grown = TopicFacts { leaderless: vec![0], ..topic(1, 16) };
        assert!(TopicFacts::is_same_log(Some(&topic(1, 8)), Some(&grown)));
        assert!(!TopicFacts::is_same_log(Some(&topic(1, 8)), Some(&topic(2, 8))));
        let elsewhere = TopicFacts { cluster_id: "d".into(), ..topic(1, 8) };
        assert!(!TopicFacts::is_same_log(Some(&topic(1, 8)), Some(&elsewhere)));
        assert!(!TopicFacts::is_same_log(Some(&topic(1, 8)), None));
        assert!(TopicFacts::is_same_log(None, None));
    }
}
