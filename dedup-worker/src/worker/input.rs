//! One partition of one input, and what each of its records is.

use std::time::Duration;

use dedup::Candidate;
use kafka::{Cluster, Isolation, Message, Probe, Read, Reader, TopicFacts};
use tracing::error;
use wire::changelog::Position;
use wire::partition::partition_of;
use wire::topic::{EVENTS, RECEIVED_AT_HEADER, SOURCE_HEADER};
use wire::{Digest, DigestSeed, MessageId, PartitionCount, SourceId};

use super::clock::Reached;
use super::fault::Fault;

/// Time to ask for the earliest offset of an input that no longer has the one to be read.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

/// Bytes of one record, key, value and headers together, that can be written again: what Kafka takes by default is
/// 1,000,000, less what a reason adds. An event of the ingest has a thirtieth of it.
const RECORD_BYTES_MAX: usize = 900_000;

/// Why a record is no event that can be decided. The text goes into the `reason` header of `events.rejected`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Undecodable {
    /// No key, an empty or an overlong one.
    MessageId,
    /// No `source` header, an empty or an overlong one.
    Source,
    /// No `receivedAt` header, or no number in it.
    ReceivedAt,
    /// It lies in a partition that its key does not lead to: its repeats would lie elsewhere and never meet it.
    Partition,
    /// No value.
    Value,
    /// It is too large to be written again, so it is set aside without its value.
    Size,
}

impl Undecodable {
    /// In one word.
    pub fn reason(self) -> &'static str {
        match self {
            Self::MessageId => "messageId",
            Self::Source => "source",
            Self::ReceivedAt => "receivedAt",
            Self::Partition => "partition",
            Self::Value => "value",
            Self::Size => "size",
        }
    }
}

/// Reads a record as an event, and says how many bytes it has, or which part is not as it must be.
pub fn decode(
    record: &Message<'_>,
    partition: u32,
    count: PartitionCount,
    seed: DigestSeed,
) -> (usize, Result<Candidate, Undecodable>) {
    let mut bytes = record.key().map_or(0, <[u8]>::len) + record.value().map_or(0, <[u8]>::len);
    let (mut source, mut received_at_ms) = (None, None);
    for (name, value) in record.headers() {
        bytes += name.len() + value.map_or(0, <[u8]>::len);
        if name == SOURCE_HEADER.as_bytes() {
            source = value.and_then(SourceId::try_new);
        } else if name == RECEIVED_AT_HEADER.as_bytes() {
            received_at_ms = value.and_then(decimal);
        }
    }
    if bytes > RECORD_BYTES_MAX {
        return (bytes, Err(Undecodable::Size));
    }
    (bytes, candidate(record, partition, count, seed, source, received_at_ms))
}

fn candidate(
    record: &Message<'_>,
    partition: u32,
    count: PartitionCount,
    seed: DigestSeed,
    source: Option<SourceId<'_>>,
    received_at_ms: Option<i64>,
) -> Result<Candidate, Undecodable> {
    let message_id = record.key().and_then(MessageId::try_new).ok_or(Undecodable::MessageId)?;
    if partition_of(message_id, count) != partition {
        return Err(Undecodable::Partition);
    }
    let source = source.ok_or(Undecodable::Source)?;
    let received_at_ms = received_at_ms.ok_or(Undecodable::ReceivedAt)?;
    if record.value().is_none_or(<[u8]>::is_empty) {
        return Err(Undecodable::Value);
    }
    Ok(Candidate { digest: Digest::of(seed, source, message_id), received_at_ms })
}

fn decimal(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// One partition of one input.
#[derive(Debug)]
pub struct Input {
    reader: Reader,
    facts: TopicFacts,
    cluster: &'static str,
    partition: u32,
    start: Cursor,
}

/// What an [`Input`] gives.
#[derive(Debug)]
pub enum Taken<'a> {
    /// The next record.
    Record(Message<'a>),
    /// There is none now.
    Nothing,
    /// The log no longer holds what was read from it: it was cut or restored, and may have grown again past the
    /// position. Only its earliest record on is anything to go by.
    Cut,
}

impl Input {
    /// Opens `partition` of the input `facts` at `position`, or at its earliest record where that log has never been
    /// read. A position that the log no longer reaches is an error in the log and the earliest record.
    ///
    /// A log that was cut and has grown again reaches the position and holds other records before it. So the last record
    /// that was read is read once more, where it is still there: two logs with a record of the same leader epoch at the
    /// same offset are one log up to it.
    ///
    /// # Errors
    /// Where the cluster does not answer.
    pub fn open(
        cluster: &Cluster,
        facts: TopicFacts,
        partition: u32,
        position: Option<&Position>,
        clock_ms: i64,
    ) -> Result<Self, Fault> {
        let marks = Probe::new(cluster, PROBE_TIMEOUT)?.watermarks(EVENTS, partition)?;
        let position = position.map(|position| (position.next_offset, position.leader_epoch));
        let (next_offset, leader_epoch) = match position {
            None => (marks.low, -1),
            Some((offset, epoch)) if (marks.low..=marks.high).contains(&offset) => (offset, epoch),
            Some((position, _)) => {
                let (cluster, low, high) = (cluster.name(), marks.low, marks.high);
                error!(
                    cluster,
                    partition,
                    position,
                    low,
                    high,
                    "the input no longer reaches the stored position; it is read from its earliest record, and what lay \
                     between is gone"
                );
                (low, -1)
            }
        };
        let is_proven = leader_epoch < 0 || next_offset <= marks.low;
        let from = if is_proven { next_offset } else { next_offset - 1 };
        let reader = Reader::open(cluster, EVENTS, partition, from, Isolation::Uncommitted)?;
        let is_at_end = next_offset == marks.high;
        let start = Cursor { next_offset, leader_epoch, reached_ms: clock_ms, is_at_end, is_proven };
        Ok(Self { reader, facts, cluster: cluster.name(), partition, start })
    }

    /// Calls `wake` whenever there is something to read again.
    pub fn on_readable(&mut self, wake: impl Fn() + Send + Sync + 'static) {
        self.reader.on_readable(wake);
    }

    /// Which log this is.
    pub fn facts(&self) -> &TopicFacts {
        &self.facts
    }

    /// What its cluster is called.
    pub fn cluster(&self) -> &'static str {
        self.cluster
    }

    /// The reader, which the records are borrowed from.
    pub fn reader(&self) -> &Reader {
        &self.reader
    }

    /// A cursor at the place where it was opened.
    pub fn cursor(&self) -> Cursor {
        self.start
    }

    /// Takes the next record, if there is one now.
    pub fn take(&self, cursor: &mut Cursor) -> Taken<'_> {
        loop {
            match self.reader.read(Duration::ZERO) {
                Read::Record(record) => match cursor.meet(record.offset(), record.leader_epoch()) {
                    Met::Next { missing } => {
                        if missing > 0 {
                            let (cluster, partition, from) = (self.cluster, self.partition, record.offset());
                            error!(cluster, partition, missing, before = from, "records of the input are missing");
                        }
                        cursor.reached_ms = cursor.reached_ms.max(record.appended_ms());
                        return Taken::Record(record);
                    }
                    Met::Proof => {}
                    Met::Other => return Taken::Cut,
                },
                Read::End => {
                    cursor.is_at_end = true;
                    return Taken::Nothing;
                }
                Read::Nothing => return Taken::Nothing,
                Read::OutOfRange => return Taken::Cut,
                Read::Trouble(failure) => {
                    tracing::debug!(%failure, cluster = self.cluster, "reading an input");
                    return Taken::Nothing;
                }
            }
        }
    }
}

/// How far an [`Input`] has been read.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Cursor {
    /// Offset of the next record.
    pub next_offset: u64,
    /// Leader epoch of the record before it, -1 where unknown.
    pub leader_epoch: i32,
    /// Append time of the newest record read, milliseconds since the Unix epoch.
    pub reached_ms: i64,
    /// Whether nothing was there after it.
    pub is_at_end: bool,
    /// Whether the log is known to be the one that was read up to here.
    pub is_proven: bool,
}

/// What a record is to a [`Cursor`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Met {
    /// The next one, with so many before it that are not there any more.
    Next { missing: u64 },
    /// The last one that was read, read again: this is the same log.
    Proof,
    /// A record of another log.
    Other,
}

impl Cursor {
    /// Moves to a record. The input is not transactional, so each offset follows the one before.
    fn meet(&mut self, offset: u64, leader_epoch: i32) -> Met {
        if !std::mem::replace(&mut self.is_proven, true) && offset + 1 == self.next_offset {
            return if leader_epoch == self.leader_epoch { Met::Proof } else { Met::Other };
        }
        let Some(missing) = offset.checked_sub(self.next_offset) else { return Met::Other };
        (self.next_offset, self.leader_epoch, self.is_at_end) = (offset + 1, leader_epoch, false);
        Met::Next { missing }
    }

    /// What that means to the window's clock, when the cluster `answers` or not.
    pub fn reached(&self, answers: bool) -> Reached {
        match (answers, self.is_at_end) {
            (true, true) => Reached::End,
            (true, false) => Reached::Behind(self.reached_ms),
            (false, _) => Reached::Away(self.reached_ms),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_time_is_decimal_text() {
        assert_eq!(decimal(b"1790000000000"), Some(1_790_000_000_000));
        assert_eq!(decimal(b"-5"), Some(-5));
        assert_eq!((decimal(b""), decimal(b"1e3"), decimal(b"\xff")), (None, None, None));
    }

    fn cursor() -> Cursor {
        Cursor { next_offset: 30, leader_epoch: 4, reached_ms: 0, is_at_end: false, is_proven: false }
    }

    #[test]
    fn a_log_is_the_same_if_the_last_record_that_was_read_is() {
        let mut same = cursor();
        assert_eq!([same.meet(29, 4), same.meet(30, 4)], [Met::Proof, Met::Next { missing: 0 }]);
        assert_eq!((same.next_offset, same.leader_epoch), (31, 4));
        assert_eq!(same.meet(33, 5), Met::Next { missing: 2 });
        assert_eq!(same.meet(33, 5), Met::Other, "a log does not go back");
        assert_eq!(cursor().meet(29, 5), Met::Other, "cut, and grown again under another leader");
        assert_eq!(cursor().meet(31, 9), Met::Next { missing: 1 }, "the proof itself is gone, as retention does it");
        let mut unproven = cursor();
        assert_eq!(unproven.meet(28, 4), Met::Other);
    }

    #[test]
    fn a_cursor_at_the_end_counts_as_now_only_while_the_cluster_answers() {
        let mut cursor = cursor();
        (cursor.reached_ms, cursor.is_at_end) = (70, true);
        assert_eq!((cursor.reached(true), cursor.reached(false)), (Reached::End, Reached::Away(70)));
        cursor.is_at_end = false;
        assert_eq!(cursor.reached(true), Reached::Behind(70));
    }
}
