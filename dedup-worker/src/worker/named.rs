//! Which topics the names of the output cluster mean. Pure.
//!
//! A topic that was deleted and made again has its old name, and is another log. Whoever has something to commit notices; a lane
//! that has nothing to commit would be at work in a log that is gone, for as long as nothing comes in. So each lane remembers
//! the ids it was taken over under, and is begun anew when others are named. Two looks in a row have to name them: one broker
//! may not have heard yet, and a lane that is begun anew for nothing costs a takeover.

use std::collections::BTreeMap;

use kafka::TopicFacts;

/// Looks in a row that have to name another topic before it is believed.
const LOOKS_MIN: u64 = 2;

/// A topic's id; `None` where the name means no topic.
type Id = Option<[u8; 16]>;

/// What was named so far.
#[derive(Debug, Default)]
pub(super) struct Names {
    looks: u64,
    /// By name: what the last look named, and the first of the looks in a row that named it.
    topics: BTreeMap<&'static str, (Id, u64)>,
}

/// The topics that a lane was taken over under.
#[derive(Debug, Clone, Default)]
pub(crate) struct Under {
    /// The last look before that.
    look: u64,
    topics: BTreeMap<&'static str, [u8; 16]>,
}

impl Under {
    /// It was this topic by that name, whatever the looks said.
    pub(crate) fn found(&mut self, topic: &'static str, facts: &TopicFacts) {
        self.topics.insert(topic, facts.topic_id);
    }
}

impl Names {
    /// A look at all of `names` found these topics.
    pub(super) fn see(&mut self, names: &[&'static str], topics: &BTreeMap<&'static str, TopicFacts>) {
        self.looks += 1;
        for name in names {
            let id = topics.get(name).map(|facts| facts.topic_id);
            let named = self.topics.entry(*name).or_insert((id, self.looks));
            if named.0 != id {
                *named = (id, self.looks);
            }
        }
    }

    /// What a lane is taken over under now.
    pub(super) fn now(&self) -> Under {
        let topics = self.topics.iter().filter_map(|(name, (id, _))| Some((*name, (*id)?)));
        Under { look: self.looks, topics: topics.collect() }
    }

    /// The first name that means another topic by now, or none, as a sentence.
    pub(super) fn differs(&self, under: &Under) -> Option<String> {
        under.topics.iter().find_map(|(name, was)| {
            let (is, first) = self.topics.get(name)?;
            let looks = self.looks - under.look.max(first - 1);
            let what = if is.is_some() { "is another topic now" } else { "is gone" };
            (*is != Some(*was) && looks >= LOOKS_MIN)
                .then(|| format!("{name} {what}; the lane was taken over before that"))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const NAMES: &[&str] = &["index", "deduped"];

    fn see(named: &mut Names, ids: &[(&'static str, u8)]) {
        let facts = |id| TopicFacts { topic_id: [id; 16], ..TopicFacts::default() };
        named.see(NAMES, &ids.iter().map(|(name, id)| (*name, facts(*id))).collect());
    }

    #[test]
    fn a_name_that_means_another_topic_in_two_looks_after_the_takeover_is_said() {
        let mut named = Names::default();
        see(&mut named, &[("index", 1), ("deduped", 2)]);
        let under = named.now();
        see(&mut named, &[("index", 1), ("deduped", 2)]);
        assert_eq!(named.differs(&under), None);
        see(&mut named, &[("index", 1), ("deduped", 3)]);
        assert_eq!(named.differs(&under), None, "one broker may not have heard yet");
        see(&mut named, &[("index", 1), ("deduped", 3)]);
        assert_eq!(named.differs(&under).unwrap(), "deduped is another topic now; the lane was taken over before that");
        assert_eq!(named.differs(&named.now()), None);
    }

    #[test]
    fn a_topic_that_is_gone_is_said_and_brokers_that_contradict_each_other_are_not() {
        let mut named = Names::default();
        see(&mut named, &[("index", 1)]);
        let under = named.now();
        for _ in 0..3 {
            see(&mut named, &[]);
            assert_eq!(named.differs(&under), None);
            see(&mut named, &[("index", 1)]);
            assert_eq!(named.differs(&under), None);
        }
        see(&mut named, &[]);
        see(&mut named, &[]);
        assert_eq!(named.differs(&under).unwrap(), "index is gone; the lane was taken over before that");
    }

    #[test]
    fn what_was_found_at_the_takeover_wins_over_an_older_look() {
        let mut named = Names::default();
        (0..9).for_each(|_| see(&mut named, &[("index", 1)]));
        let mut under = named.now();
        under.found("index", &TopicFacts { topic_id: [2; 16], ..TopicFacts::default() });
        see(&mut named, &[("index", 1)]);
        assert_eq!(named.differs(&under), None, "the broker has not heard yet");
        see(&mut named, &[("index", 2)]);
        see(&mut named, &[("index", 2)]);
        assert_eq!(named.differs(&under), None);
    }
}
