//! The table: what every setting that matters must be, of every topic.
//!
//! Refused is what loses an acknowledged event or lets a repeat out although nothing fails; warned of is what does so only
//! after a failure, or makes a rebuild or a look at what was set aside worth less.

use super::rule::{refused, warned};
use super::{EVENTS, EVENTS_DEDUPED, EVENTS_INDEX, EVENTS_REJECTED, Must, Rule, Span, TOPICS};
use crate::limits::RECORD_BYTES_MAX;

/// Name, among a topic's settings, for the fewest replicas of one of its partitions. No setting of the broker's: it is
/// read off the metadata.
pub const REPLICAS: &str = "replicas";

const CLEANUP_POLICY: &str = "cleanup.policy";
const MAX_MESSAGE_BYTES: &str = "max.message.bytes";
const MIN_INSYNC_REPLICAS: &str = "min.insync.replicas";
const RETENTION_BYTES: &str = "retention.bytes";
pub(super) const RETENTION_MS: &str = "retention.ms";
const TIMESTAMP_TYPE: &str = "message.timestamp.type";
const UNCLEAN_ELECTION: &str = "unclean.leader.election.enable";

const DELETE: Must = Must::Be("delete");
const APPEND_TIME: Must = Must::Be("LogAppendTime");
const NO_BOUND: Must = Must::Be("-1");
/// Twice the largest record of a host's buffer: there is room for its headers, and for a larger one some day.
const REJECTED_BYTES_MIN: u64 = 2 * RECORD_BYTES_MAX as u64;

/// The table.
pub const RULES: [Rule; 19] = [
    refused(
        &[EVENTS, EVENTS_DEDUPED],
        CLEANUP_POLICY,
        DELETE,
        "compaction keeps one record of a messageId, and events of other sources with the same one are lost",
    ),
    refused(&[EVENTS_INDEX], CLEANUP_POLICY, DELETE, "compaction forgets what was published, and its repeats come out"),
    warned(
        &[EVENTS_REJECTED],
        CLEANUP_POLICY,
        DELETE,
        "compaction keeps one record of a messageId, and what else was set aside under it is gone",
    ),
    refused(
        &[EVENTS],
        TIMESTAMP_TYPE,
        APPEND_TIME,
        "by the producer's time, events of a host whose clock is behind are deleted unread, a host whose clock is \
         ahead has whole batches refused, and the window follows their clocks",
    ),
    refused(
        &[EVENTS_INDEX],
        TIMESTAMP_TYPE,
        APPEND_TIME,
        "by the producer's time, what a worker whose clock is behind has published is deleted early, and its \
         repeats come out",
    ),
    warned(
        &[EVENTS_DEDUPED],
        TIMESTAMP_TYPE,
        APPEND_TIME,
        "a changelog made again from it would believe the clocks of the workers that wrote it",
    ),
    warned(
        &[EVENTS_REJECTED],
        TIMESTAMP_TYPE,
        APPEND_TIME,
        "by the producer's time, what a host whose clock is behind has set aside is deleted early",
    ),
    refused(
        &[EVENTS],
        RETENTION_MS,
        Must::KeepFor(Span::Input),
        "what waits longer than that, for workers or for the output, is lost",
    ),
    refused(
        &[EVENTS_INDEX],
        RETENTION_MS,
        Must::KeepFor(Span::Window),
        "identities are deleted while the window needs them, and repeats come out",
    ),
    warned(
        &[EVENTS_DEDUPED],
        RETENTION_MS,
        Must::KeepFor(Span::Window),
        "a changelog made again from it would not reach back over the window",
    ),
    warned(
        &[EVENTS_REJECTED],
        RETENTION_MS,
        Must::KeepFor(Span::Window),
        "an event that was set aside is gone before those beside it in the output",
    ),
    refused(&[EVENTS], RETENTION_BYTES, NO_BOUND, "a busy hour deletes events that no worker has read"),
    refused(
        &[EVENTS_INDEX],
        RETENTION_BYTES,
        NO_BOUND,
        "a busy day deletes identities that the window needs, and repeats come out",
    ),
    warned(
        &[EVENTS_DEDUPED],
        RETENTION_BYTES,
        NO_BOUND,
        "after a busy day a changelog made again from it would not reach back over the window",
    ),
    warned(
        &[EVENTS_REJECTED],
        RETENTION_BYTES,
        NO_BOUND,
        "one flood of refused events deletes what was set aside before",
    ),
    warned(
        &[EVENTS_REJECTED],
        MAX_MESSAGE_BYTES,
        Must::BeAtLeast(REJECTED_BYTES_MIN),
        "a refused event comes with its own bytes escaped, and the largest would stay in the hosts' quarantine",
    ),
    warned(
        &TOPICS,
        REPLICAS,
        Must::BeAtLeast(3),
        "with fewer, the loss of one broker stops the topic or loses records",
    )
    .left_to_the_broker(),
    warned(&TOPICS, MIN_INSYNC_REPLICAS, Must::BeAtLeast(2), "an acknowledgement may stand on one broker's disk alone")
        .left_to_the_broker(),
    warned(&TOPICS, UNCLEAN_ELECTION, Must::Be("false"), "a failover may lose acknowledged records")
        .left_to_the_broker(),
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_setting_of_a_topic_has_one_rule() {
        for topic in TOPICS {
            let mut settings: Vec<_> =
                RULES.iter().filter(|rule| rule.topics.contains(&topic)).map(|rule| rule.setting).collect();
            let all = settings.len();
            settings.sort_unstable();
            settings.dedup();
            assert_eq!(settings.len(), all, "{topic}");
            for setting in [CLEANUP_POLICY, TIMESTAMP_TYPE, RETENTION_MS, RETENTION_BYTES, REPLICAS] {
                assert!(settings.contains(&setting), "{topic} lacks {setting}");
            }
        }
    }

    #[test]
    fn reasons_are_parts_of_a_sentence() {
        for rule in RULES {
            assert!(rule.why.starts_with(char::is_lowercase), "{}", rule.why);
            assert!(!rule.why.ends_with('.') && !rule.why.contains('\n'), "{}", rule.why);
        }
    }
}
