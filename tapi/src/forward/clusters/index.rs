//! Looking for the genesis in the topic `events.index` of a cluster.
//!
//! It is the first record of partition 0, or stands behind the mark of a rebuild; where retention has deleted it, a
//! checkpoint repeats it. A batch at the beginning means that the newest checkpoint is to be found: every record names it,
//! so a record near the end says where it lies. What it names may be a batch with every position, which names the
//! checkpoint before it.

use std::ffi::CStr;
use std::time::{Duration, Instant};

use kafka::{Failure, Isolation, LogReader, Probe, Read, TopicFacts, Watermarks};
use tracing::debug;
use wire::LaneCount;
use wire::changelog::{Framed, Record};
use wire::topic::EVENTS_INDEX;

use super::lanes::Index;
use crate::forward::error::DrainError;

const TOPIC: &CStr = c"events.index";
/// The lane of the genesis that counts.
const LANE: u32 = 0;
/// Time for one question.
const ANSWER: Duration = Duration::from_secs(2);
/// Time for all reading of one look.
const READING: Duration = Duration::from_secs(3);
/// Offsets before the end at which a record near the end is looked for: among them are the marks of transactions.
const TAIL: u64 = 32;
/// Places to read at in one look: the beginning, near the end, and back from there to a checkpoint.
const PLACES_MAX: usize = 16;

/// What a record of the topic is good for.
#[derive(Debug, PartialEq, Eq)]
enum Find {
    /// The number of lanes.
    Lanes(LaneCount),
    /// Nothing; the one behind it may be.
    Next,
    /// Read on here.
    At(u64),
    /// It cannot be read, for this reason.
    Unreadable(String),
}

/// What a record is good for. Pure.
fn find(record: &[u8], marks: Watermarks, place: u64) -> Find {
    let framed = match Framed::decode(record) {
        Ok(framed) => framed,
        Err(error) => return Find::Unreadable(format!("a record of it cannot be read: {error}")),
    };
    match framed.record {
        Record::Genesis(genesis) => Find::Lanes(genesis.lanes),
        Record::Checkpoint(checkpoint) => Find::Lanes(checkpoint.genesis.lanes),
        Record::Mark(_) => Find::Next,
        Record::Batch(_) => {
            let tail = marks.high.saturating_sub(TAIL);
            match framed.chain.checkpoint.and_then(|end| end.checked_sub(1)) {
                Some(checkpoint) if checkpoint >= marks.low => Find::At(checkpoint),
                _ if place < tail => Find::At(tail),
                _ => Find::Next,
            }
        }
    }
}

/// Whoever looks at the topic of one cluster.
pub(super) struct Looker {
    cluster: kafka::Cluster,
    probe: Probe,
    /// The genesis of a topic never changes.
    found: Option<(TopicFacts, LaneCount)>,
}

impl Looker {
    /// At a cluster that need not be reachable.
    ///
    /// # Errors
    /// Where librdkafka does not take a setting.
    pub(super) fn new(cluster: &kafka::Cluster) -> Result<Self, DrainError> {
        Ok(Self { cluster: cluster.clone(), probe: Probe::new(cluster, ANSWER)?, found: None })
    }

    /// What the topic says now. It asks and reads for a few seconds at most.
    pub(super) fn look(&mut self) -> Index {
        self.ask().unwrap_or_else(|failure| {
            debug!(cluster = self.cluster.name(), %failure, "{EVENTS_INDEX} does not tell the lanes");
            Index::Untold(failure.to_string())
        })
    }

    fn ask(&mut self) -> Result<Index, Failure> {
        let Some(topic) = self.probe.find(EVENTS_INDEX)? else { return Ok(Index::NoTopic) };
        if let Some((of, lanes)) = &self.found
            && of.topic_id == topic.topic_id
            && of.cluster_id == topic.cluster_id
        {
            return Ok(Index::Genesis(*lanes));
        }
        let marks = self.probe.watermarks(EVENTS_INDEX, LANE)?;
        if marks.low == marks.high {
            return Ok(Index::Empty(topic.partition_count));
        }
        let index = self.read(marks, topic.partition_count)?;
        if let Index::Genesis(lanes) = index {
            self.found = Some((topic, lanes));
        }
        Ok(index)
    }

    fn read(&self, marks: Watermarks, partition_count: u32) -> Result<Index, Failure> {
        let deadline = Instant::now() + READING;
        let mut place = marks.low;
        let mut any = false;
        for _ in 0..PLACES_MAX {
            let mut reader = LogReader::open(&self.cluster, TOPIC, LANE, place, Isolation::Committed)?;
            let next = loop {
                let left = deadline.saturating_duration_since(Instant::now());
                match reader.read(left) {
                    Read::Record(record) => {
                        any = true;
                        match find(record.value().unwrap_or_default(), marks, place) {
                            Find::Lanes(lanes) => return Ok(Index::Genesis(lanes)),
                            Find::Next => {}
                            Find::At(place) => break place,
                            Find::Unreadable(reason) => return Ok(Index::Untold(reason)),
                        }
                    }
                    // What transactions have written that were given up is nothing.
                    Read::End if !any && reader.position() >= marks.high => return Ok(Index::Empty(partition_count)),
                    Read::End => return Ok(Index::Untold("its genesis is not finished yet".into())),
                    Read::Trouble(failure) => return Err(failure),
                    Read::OutOfRange => return Ok(Index::Untold("records of it are being deleted".into())),
                    Read::Nothing => return Ok(Index::Untold("its records could not be read in time".into())),
                }
            };
            place = next;
        }
        Ok(Index::Untold("no genesis and no checkpoint was found in it; set kafka.lanes".into()))
    }
}

#[cfg(test)]
mod tests {
    use wire::changelog::{
        Chain, Checkpoint, Genesis, Link, Mark, Moved, Output, encode_batch, encode_checkpoint, encode_genesis,
        encode_mark,
    };
    use wire::{DigestSeed, Window};

    use super::*;

    const MARKS: Watermarks = Watermarks { low: 100, high: 1000 };

    fn genesis() -> Genesis {
        let lanes = LaneCount::try_new(8).unwrap();
        Genesis { lanes, seed: DigestSeed(1), window: Window::default(), created_ms: 0 }
    }

    fn batch(checkpoint: Option<u64>) -> Vec<u8> {
        let (mut out, before) = (Vec::new(), Some(Link { end: 100, checksum: 1 }));
        let moved = Moved { positions: &[], is_all: false };
        encode_batch(&mut out, (LANE, Chain { before, checkpoint }), 5, moved, Output::None, &[]);
        out
    }

    #[test]
    fn the_topic_is_the_wires() {
        assert_eq!(TOPIC.to_str().unwrap(), EVENTS_INDEX);
    }

    #[test]
    fn a_genesis_and_a_checkpoint_tell_and_a_mark_does_not() {
        let (mut first, mut again, mut mark) = (Vec::new(), Vec::new(), Vec::new());
        encode_genesis(&mut first, LANE, Chain::default(), &genesis());
        let checkpoint = Checkpoint { genesis: genesis(), positions: Vec::new(), clock_ms: 0 };
        encode_checkpoint(&mut again, LANE, Chain::default(), &checkpoint);
        encode_mark(&mut mark, LANE, &Mark { rebuild: [1; 16], created_ms: 0 });
        let lanes = LaneCount::try_new(8).unwrap();
        assert_eq!([&first, &again].map(|record| find(record, MARKS, 100)), [Find::Lanes(lanes), Find::Lanes(lanes)]);
        assert_eq!(find(&mark, MARKS, 100), Find::Next);
        assert!(matches!(find(b"", MARKS, 100), Find::Unreadable(_)));
        first[4] += 1;
        assert!(matches!(find(&first, MARKS, 100), Find::Unreadable(reason) if reason.contains("cannot be read")));
    }

    #[test]
    fn from_a_batch_the_newest_checkpoint_is_found_near_the_end() {
        assert_eq!(find(&batch(Some(90)), MARKS, 100), Find::At(968), "that one was deleted");
        assert_eq!(find(&batch(Some(901)), MARKS, 968), Find::At(900));
        assert_eq!(find(&batch(None), MARKS, 968), Find::Next);
    }
}
