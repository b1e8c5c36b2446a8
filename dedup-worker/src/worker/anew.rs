//! Whether a topic that was made anew is to be read already. Pure.
//!
//! A topic that was deleted and made again has its old name, and is another log. Brokers hear of that one after the other, and
//! a client that was at work carries its offset into the new log without a word. So the old one is read no more as soon as
//! anybody names another, and the new one not before that has been named for [some time](NAMED), by a new client then.

use std::time::{Duration, Instant};

use kafka::TopicFacts;

/// For so long the new topic, and no other, has to be named: two looks and more.
const NAMED: Duration = Duration::from_secs(10);

/// What is read, and what is named instead.
#[derive(Debug, Default)]
pub(super) struct Anew {
    read: Option<TopicFacts>,
    named: Option<(TopicFacts, Instant)>,
}

impl Anew {
    /// This topic was named at `now`; whether it may be read. The first one may at once.
    pub(super) fn may_read(&mut self, facts: &TopicFacts, now: Instant) -> bool {
        let is_read = self.read.is_none() || TopicFacts::is_same_log(self.read.as_ref(), Some(facts));
        let since = match self.named.take() {
            Some((named, since)) if TopicFacts::is_same_log(Some(&named), Some(facts)) => since,
            _ => now,
        };
        let may_read = is_read || now.saturating_duration_since(since) >= NAMED;
        if may_read {
            self.read = Some(facts.clone());
        } else {
            self.named = Some((facts.clone(), since));
        }
        may_read
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(id: u8) -> TopicFacts {
        TopicFacts { cluster_id: "c".into(), topic_id: [id; 16], ..TopicFacts::default() }
    }

    #[test]
    fn a_topic_made_anew_is_read_once_it_has_been_named_for_some_time() {
        let (mut anew, begun) = (Anew::default(), Instant::now());
        let at = |tenths: u32| begun + NAMED * tenths / 10;
        assert!(anew.may_read(&topic(1), at(0)), "there was none before");
        assert!(anew.may_read(&TopicFacts { partition_count: 16, ..topic(1) }, at(1)), "it has grown");
        assert!(!anew.may_read(&topic(2), at(2)));
        assert!(!anew.may_read(&topic(2), at(11)));
        assert!(anew.may_read(&topic(2), at(12)));
        assert!(anew.may_read(&topic(2), at(13)));
    }

    #[test]
    fn brokers_that_contradict_each_other_begin_the_time_anew() {
        let (mut anew, begun) = (Anew::default(), Instant::now());
        let at = |tenths: u32| begun + NAMED * tenths / 10;
        assert!(anew.may_read(&topic(1), at(0)));
        assert!(!anew.may_read(&topic(2), at(1)));
        assert!(anew.may_read(&topic(1), at(6)), "it was never left");
        assert!(!anew.may_read(&topic(2), at(12)));
        assert!(!anew.may_read(&topic(3), at(13)));
        assert!(!anew.may_read(&topic(3), at(22)));
        assert!(anew.may_read(&topic(3), at(23)));
        let elsewhere = TopicFacts { cluster_id: "d".into(), ..topic(3) };
        assert!(!anew.may_read(&elsewhere, at(24)), "another cluster by the same address");
    }
}
