//! How far one lane of one input is behind.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use changelog::Positions;
use kafka::{Cluster, Failure, Probe, TopicFacts, Watermarks};
use wire::LaneCount;
use wire::topic::EVENTS;

use super::super::appended::appended_ms;

/// Time for the records that tell how long they have been waiting; all of them come together.
const RECORDS_LIMIT: Duration = Duration::from_millis(700);

/// One input cluster, asked.
pub(super) struct Asked {
    pub(super) cluster: Cluster,
    /// `None` where it does not answer.
    pub(super) told: Option<Told>,
}

/// What a cluster said.
pub(super) struct Told {
    facts: TopicFacts,
    ends: BTreeMap<u32, Watermarks>,
}

/// A partition with records that are not read yet.
struct Unread {
    lane: u32,
    partition: u32,
    next: u64,
}

/// What is not read yet.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Lag {
    /// The cluster, or the leader of one of the partitions, does not answer.
    Away,
    /// There is no such input.
    None,
    /// So many records; and the time since the first of them was appended, where that record could be read.
    Behind { records: u64, waiting_ms: Option<u64> },
}

impl Asked {
    /// Asks for the topic and for the ends of all its partitions.
    ///
    /// # Errors
    /// Where librdkafka does not take the cluster's properties.
    pub(super) fn new(cluster: Cluster, timeout: Duration) -> Result<Self, Failure> {
        let probe = Probe::new(&cluster, timeout)?;
        let ask = || {
            let facts = probe.topic(EVENTS)?;
            let ends = probe.ends(EVENTS, 0..facts.partition_count)?;
            Ok::<_, Failure>(Told { facts, ends })
        };
        let told = ask().ok();
        Ok(Self { cluster, told })
    }

    /// How far each lane is behind whose positions are known.
    pub(super) fn lags(&self, lanes: LaneCount, known: &[(u32, &Positions)], now_ms: i64) -> BTreeMap<u32, Lag> {
        let Some(told) = &self.told else {
            return known.iter().map(|(lane, _)| (*lane, Lag::Away)).collect();
        };
        let (mut lags, mut unread) = (BTreeMap::new(), Vec::new());
        for (lane, positions) in known {
            lags.insert(*lane, told.unread(lanes, *lane, positions, &mut unread));
        }
        let firsts: Vec<_> = unread.iter().map(|Unread { partition, next, .. }| (*partition, *next)).collect();
        let appended = appended_ms(&self.cluster, &firsts, RECORDS_LIMIT).unwrap_or_default();
        for Unread { lane, partition, .. } in &unread {
            let Some(Lag::Behind { waiting_ms, .. }) = lags.get_mut(lane) else { continue };
            let waits_ms = appended.get(partition).map(|time_ms| now_ms.saturating_sub(*time_ms).max(0) as u64);
            *waiting_ms = (*waiting_ms).max(waits_ms);
        }
        lags
    }
}

impl Told {
    /// What is not read of a lane; adds its partitions to `unread`.
    fn unread(&self, lanes: LaneCount, lane: u32, positions: &Positions, unread: &mut Vec<Unread>) -> Lag {
        let Self { facts, ends } = self;
        let mut all = 0;
        for partition in lanes.partitions(lane, facts.partition_count) {
            let Some(marks) = ends.get(&partition) else { return Lag::Away };
            let position = positions.of(facts.cluster_id.as_bytes(), facts.topic_id, partition);
            let next = position.map_or(marks.low, |position| position.next_offset).max(marks.low);
            let records = marks.high.saturating_sub(next);
            all += records;
            if records > 0 {
                unread.push(Unread { lane, partition, next });
            }
        }
        Lag::Behind { records: all, waiting_ms: None }
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
    use wire::changelog::{LogPositions, Position};

    use super::*;

    #[test]
    fn a_lag_is_records_and_seconds() {
        let behind = |records, waiting_ms| format!("{:>10}", Lag::Behind { records, waiting_ms });
        assert_eq!(behind(12, Some(3_400)), "  12 (3 s)");
        assert_eq!(behind(12, None), "        12");
        assert_eq!(behind(0, Some(0)), "         0");
        assert_eq!([Lag::Away, Lag::None].map(|lag| lag.to_string()), ["away", "-"]);
    }

    #[test]
    fn a_lane_is_behind_in_each_of_its_partitions() {
        let facts =
            TopicFacts { cluster_id: "c".into(), topic_id: [1; 16], partition_count: 8, ..TopicFacts::default() };
        let ends = (0..8).map(|partition| (partition, Watermarks { low: 10, high: 20 })).collect();
        let mut told = Told { facts, ends };
        let position = |partition, next_offset| Position { partition, leader_epoch: 0, next_offset, appended_ms: 0 };
        let mut positions = Positions::default();
        positions.enter(&[LogPositions {
            cluster_id: b"c".to_vec(),
            topic_id: [1; 16],
            partitions: vec![position(1, 20), position(5, 4)],
        }]);
        let lanes = LaneCount::try_new(4).unwrap();
        let mut unread = Vec::new();
        let behind = |records| Lag::Behind { records, waiting_ms: None };
        assert_eq!(told.unread(lanes, 1, &positions, &mut unread), behind(10), "one read, one cut");
        assert_eq!(told.unread(lanes, 2, &positions, &mut unread), behind(20), "never read");
        let at: Vec<_> = unread.iter().map(|unread| (unread.lane, unread.partition, unread.next)).collect();
        assert_eq!(at, [(1, 5, 10), (2, 2, 10), (2, 6, 10)]);
        told.ends.remove(&6);
        assert_eq!(told.unread(lanes, 2, &positions, &mut unread), Lag::Away, "what is not told is not 0");
    }
}
