//! One partition of one input, and what each of its records is.

use std::time::Duration;

use rdkafka::Message as _;
use rdkafka::message::{BorrowedMessage, Headers as _};
use tracing::error;
use wire::partition::partition_of;
use wire::topic::{EVENTS, RECEIVED_AT_HEADER, SOURCE_HEADER};
use wire::{Digest, DigestSeed, MessageId, PartitionCount, SourceId};

use super::clock::Reached;
use super::fault::Fault;
use crate::Candidate;
use crate::kafka::{Cluster, Isolation, LogReader, Probe, Read, TopicFacts};

/// Time to ask for the earliest offset of an input that no longer has the one to be read.
const PROBE_TIMEOUT: Duration = Duration::from_secs(5);

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
        }
    }
}

/// Reads a record as an event.
///
/// # Errors
/// Which part is not as it must be.
pub fn decode(
    record: &BorrowedMessage<'_>,
    partition: u32,
    count: PartitionCount,
    seed: DigestSeed,
) -> Result<Candidate, Undecodable> {
    let message_id = record.key().and_then(MessageId::try_new).ok_or(Undecodable::MessageId)?;
    if partition_of(message_id, count) != partition {
        return Err(Undecodable::Partition);
    }
    let (mut source, mut received_at_ms) = (None, None);
    for header in record.headers().into_iter().flat_map(|headers| headers.iter()) {
        match header.key {
            SOURCE_HEADER => source = header.value.and_then(SourceId::try_new),
            RECEIVED_AT_HEADER => received_at_ms = header.value.and_then(decimal),
            _ => {}
        }
    }
    let source = source.ok_or(Undecodable::Source)?;
    let received_at_ms = received_at_ms.ok_or(Undecodable::ReceivedAt)?;
    if record.payload_len() == 0 {
        return Err(Undecodable::Value);
    }
    Ok(Candidate { digest: Digest::of(seed, source, message_id), received_at_ms })
}

fn decimal(text: &[u8]) -> Option<i64> {
    std::str::from_utf8(text).ok()?.parse().ok()
}

/// One partition of one input.
pub struct Input {
    reader: LogReader,
    facts: TopicFacts,
    cluster: &'static str,
    partition: u32,
    next_offset: u64,
    leader_epoch: i32,
    reached_ms: i64,
    is_at_end: bool,
}

impl Input {
    /// Opens `partition` of the input `facts` at `position`, or at its earliest record where that log has never been
    /// read. A position that the log no longer reaches is an error in the log and the earliest record.
    ///
    /// # Errors
    /// Where the cluster does not answer.
    pub fn open(
        cluster: &Cluster,
        facts: TopicFacts,
        partition: u32,
        position: Option<u64>,
        clock_ms: i64,
    ) -> Result<Self, Fault> {
        let marks = Probe::new(cluster, PROBE_TIMEOUT)?.watermarks(EVENTS, partition)?;
        let next_offset = match position {
            None => marks.low,
            Some(position) if (marks.low..=marks.high).contains(&position) => position,
            Some(position) => {
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
                low
            }
        };
        let reader = LogReader::open(cluster, EVENTS, partition, next_offset, Isolation::Uncommitted)?;
        let cluster = cluster.name();
        let is_at_end = next_offset == marks.high;
        Ok(Self { reader, facts, cluster, partition, next_offset, leader_epoch: -1, reached_ms: clock_ms, is_at_end })
    }

    /// Calls `wake` whenever there is something to read again.
    pub fn on_readable(&mut self, wake: impl Fn() + Send + Sync + 'static) {
        self.reader.on_readable(wake);
    }

    /// Which log this is.
    pub fn facts(&self) -> &TopicFacts {
        &self.facts
    }

    /// The reader, which the records are borrowed from.
    pub fn reader(&self) -> &LogReader {
        &self.reader
    }

    /// A cursor at the place where it was opened.
    pub fn cursor(&self) -> Cursor {
        Cursor {
            next_offset: self.next_offset,
            leader_epoch: self.leader_epoch,
            reached_ms: self.reached_ms,
            is_at_end: self.is_at_end,
        }
    }

    /// Takes the next record, if there is one now.
    ///
    /// # Errors
    /// [`Fault::Again`] where the log turns out to be another one, or has been cut: it is then opened anew, which says
    /// what was lost.
    pub fn take(&self, cursor: &mut Cursor) -> Result<Option<BorrowedMessage<'_>>, Fault> {
        match self.reader.read(Duration::ZERO) {
            Read::Record(record) => {
                self.check(cursor, &record)?;
                Ok(Some(record))
            }
            Read::End => {
                cursor.is_at_end = true;
                Ok(None)
            }
            Read::Nothing => Ok(None),
            Read::OutOfRange => Err(Fault::Again(format!(
                "{EVENTS} {} on the {} cluster no longer holds offset {}",
                self.partition, self.cluster, cursor.next_offset
            ))),
            Read::Trouble(failure) => {
                tracing::debug!(%failure, cluster = self.cluster, "reading an input");
                Ok(None)
            }
        }
    }

    /// The input is not transactional, so each offset follows the one before.
    fn check(&self, cursor: &mut Cursor, record: &BorrowedMessage<'_>) -> Result<(), Fault> {
        let offset = record.offset() as u64;
        let expected = cursor.next_offset;
        if offset < expected {
            let (cluster, partition) = (self.cluster, self.partition);
            return Err(Fault::Again(format!(
                "{EVENTS} {partition} on the {cluster} cluster went back from {expected} to {offset}"
            )));
        }
        if offset > expected {
            let (cluster, partition) = (self.cluster, self.partition);
            error!(cluster, partition, from = expected, to = offset, "records of the input are missing");
        }
        (cursor.next_offset, cursor.leader_epoch) = (offset + 1, leader_epoch(record));
        cursor.reached_ms = cursor.reached_ms.max(record.timestamp().to_millis().unwrap_or(0));
        cursor.is_at_end = false;
        Ok(())
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
}

impl Cursor {
    /// What that means to the window's clock, when the cluster `answers` or not.
    pub fn reached(&self, answers: bool) -> Reached {
        match (answers, self.is_at_end) {
            (true, true) => Reached::End,
            (true, false) => Reached::Behind(self.reached_ms),
            (false, _) => Reached::Away(self.reached_ms),
        }
    }
}

/// Leader epoch under which a record was written, -1 where the broker did not say.
#[expect(unsafe_code, reason = "leader epochs are not in the safe interface")]
pub fn leader_epoch(record: &BorrowedMessage<'_>) -> i32 {
    // SAFETY: the pointer is the record's own and lives as long as the borrow.
    unsafe { rdkafka::bindings::rd_kafka_message_leader_epoch(record.ptr()) }
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

    #[test]
    fn a_cursor_at_the_end_counts_as_now_only_while_the_cluster_answers() {
        let mut cursor = Cursor { next_offset: 3, leader_epoch: -1, reached_ms: 70, is_at_end: true };
        assert_eq!((cursor.reached(true), cursor.reached(false)), (Reached::End, Reached::Away(70)));
        cursor.is_at_end = false;
        assert_eq!(cursor.reached(true), Reached::Behind(70));
    }
}
