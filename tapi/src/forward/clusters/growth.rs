//! How many partitions of a topic are there to be written to. Pure: times come in as values.
//!
//! A topic can grow while it is written to, and a broker whose metadata is old goes on naming fewer partitions for a
//! while. A larger number is believed when it was named again ten seconds later, by every look in between; a smaller one
//! never: a topic does not shrink, it is deleted, and one that is made again has another id.

use std::time::{Duration, Instant};

use kafka::TopicFacts;

/// How long a larger number has to be named before it is used: every broker and client has heard of it by then.
const CONFIRM: Duration = Duration::from_secs(10);
/// Topics that are remembered, by cluster and id: a look may show one that has been deleted once more.
const LOGS_MAX: usize = 16;

/// One topic, for as long as it has the same id.
#[derive(Debug, Clone, PartialEq, Eq)]
struct Log {
    cluster_id: String,
    topic_id: [u8; 16],
    used: u32,
    /// The smallest of the larger numbers that were named in a row, and since when.
    larger: Option<(u32, Instant)>,
}

/// The topics of one name.
#[derive(Debug, Default)]
pub(super) struct Growth(Vec<Log>);

impl Growth {
    /// How many partitions to use of a topic, which was looked at just now.
    pub(super) fn see(&mut self, topic: &TopicFacts, now: Instant) -> u32 {
        let named = topic.partition_count;
        let is_it = |log: &Log| log.cluster_id == topic.cluster_id && log.topic_id == topic.topic_id;
        let Some(log) = self.0.iter_mut().find(|log| is_it(log)) else {
            if self.0.len() == LOGS_MAX {
                self.0.remove(0);
            }
            let cluster_id = topic.cluster_id.clone();
            self.0.push(Log { cluster_id, topic_id: topic.topic_id, used: named, larger: None });
            return named;
        };
        if named <= log.used {
            log.larger = None;
            return log.used;
        }
        let (smallest, since) = log.larger.map_or((named, now), |(count, since)| (count.min(named), since));
        log.larger = Some((smallest, since));
        if now.saturating_duration_since(since) >= CONFIRM {
            log.used = smallest;
            log.larger = None;
        }
        log.used
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn topic(id: u8, partition_count: u32) -> TopicFacts {
        TopicFacts {
            cluster_id: "a".into(),
            topic_id: [id; 16],
            partition_count,
            replicas_min: 3,
            leaderless: Vec::new(),
        }
    }

    /// Looks at these seconds that name these numbers, and what is used after each.
    fn used(looks: &[(u64, u32)]) -> Vec<u32> {
        let (start, mut growth) = (Instant::now(), Growth::default());
        let at = |second| start + Duration::from_secs(second);
        looks.iter().map(|(second, count)| growth.see(&topic(1, *count), at(*second))).collect()
    }

    #[test]
    fn a_larger_number_is_used_once_it_was_named_again_ten_seconds_later() {
        assert_eq!(used(&[(0, 8), (3, 16), (6, 16), (12, 16), (13, 16)]), [8, 8, 8, 8, 16]);
        assert_eq!(used(&[(0, 8), (3, 16), (13, 32)]), [8, 8, 16], "the smaller of the two was named twice");
    }

    #[test]
    fn a_broker_that_has_not_heard_of_it_begins_the_time_anew() {
        assert_eq!(used(&[(0, 8), (3, 16), (6, 8), (13, 16), (23, 16)]), [8, 8, 8, 8, 16]);
    }

    #[test]
    fn it_never_shrinks_and_another_topic_is_another_number() {
        assert_eq!(used(&[(0, 8), (3, 4)]), [8, 8]);
        let (now, mut growth) = (Instant::now(), Growth::default());
        assert_eq!(growth.see(&topic(1, 8), now), 8);
        assert_eq!(growth.see(&topic(2, 4), now), 4, "made anew");
        assert_eq!(growth.see(&topic(1, 2), now), 8, "an old look");
        for id in 3..40 {
            growth.see(&topic(id, 1), now);
        }
        assert_eq!(growth.0.len(), LOGS_MAX);
    }
}
