//! How far one partition of one input is behind.

use std::fmt;
use std::time::{Duration, Instant};

use changelog::Positions;
use kafka::{Cluster, Isolation, LogReader, Probe, Read, TopicFacts};
use wire::topic::EVENTS;

use crate::worker::topics;

/// Time for the one record that tells how long it has been waiting.
const RECORD_LIMIT: Duration = Duration::from_secs(2);
/// Time of one poll for it.
const POLL: Duration = Duration::from_millis(100);

/// One input cluster, asked.
pub(super) struct Asked {
    pub(super) cluster: Cluster,
    probe: Probe,
    /// `None` where it does not answer.
    pub(super) facts: Option<TopicFacts>,
}

/// What is not read yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lag {
    /// The cluster does not answer.
    Away,
    /// There is no such input.
    None,
    /// So many records; and the time since the first of them was appended, where that record could be read.
    Behind { records: u64, waiting_ms: Option<u64> },
}

impl Asked {
    pub(super) fn new(cluster: Cluster, timeout: Duration) -> Result<Self, kafka::Failure> {
        let probe = Probe::new(&cluster, timeout)?;
        let facts = probe.topic(EVENTS).ok();
        Ok(Self { cluster, probe, facts })
    }

    pub(super) fn lag(&self, positions: &Positions, partition: u32, now_ms: i64) -> Lag {
        let Some(facts) = &self.facts else { return Lag::Away };
        let Ok(marks) = self.probe.watermarks(EVENTS, partition) else { return Lag::Away };
        let next = positions
            .of(facts.cluster_id.as_bytes(), facts.topic_id)
            .map_or(marks.low, |position| position.next_offset)
            .max(marks.low);
        let records = marks.high.saturating_sub(next);
        let appended_ms = if records > 0 { self.appended_ms(partition, next) } else { Some(now_ms) };
        Lag::Behind { records, waiting_ms: appended_ms.map(|time_ms| now_ms.saturating_sub(time_ms).max(0) as u64) }
    }

    fn appended_ms(&self, partition: u32, offset: u64) -> Option<i64> {
        let mut reader =
            LogReader::open(&self.cluster, topics::EVENTS, partition, offset, Isolation::Uncommitted).ok()?;
        let deadline = Instant::now() + RECORD_LIMIT;
        while Instant::now() < deadline {
            if let Read::Record(record) = reader.read(POLL) {
                return Some(record.appended_ms());
            }
        }
        None
    }
}

impl fmt::Display for Lag {
    fn fmt(&self, out: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Away => out.pad("away"),
            Self::None => out.pad("-"),
            Self::Behind { records: 0, .. } => out.pad("0"),
            Self::Behind { records, waiting_ms: None } => out.pad(&records.to_string()),
            Self::Behind { records, waiting_ms: Some(ms) } => out.pad(&format!("{records} ({} s)", ms / 1000)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lag_is_records_and_seconds() {
        let behind = |records, waiting_ms| format!("{:>10}", Lag::Behind { records, waiting_ms });
        assert_eq!(behind(12, Some(3_400)), "  12 (3 s)");
        assert_eq!(behind(12, None), "        12");
        assert_eq!(behind(0, Some(0)), "         0");
        assert_eq!([Lag::Away, Lag::None].map(|lag| lag.to_string()), ["away", "-"]);
    }
}
