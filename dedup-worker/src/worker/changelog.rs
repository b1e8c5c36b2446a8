//! The changelog of one partition, read from Kafka: a [`Log`] for the [index](dedup::Index).

use std::ops::{ControlFlow, Range};
use std::time::{Duration, Instant};

use changelog::{Log, LogId, Placed, Point, RestoreError, Start};
use dedup::{Index, IndexError};
use kafka::{Cluster, Isolation, LogReader, Read, TopicFacts, Watermarks};
use wire::changelog::{Genesis, checksum_of, partition_of};
use wire::topic::EVENTS_INDEX;
use xxhash_rust::xxh3::xxh3_128;

use super::fault::Fault;
use super::topics;

/// Time without any progress after which the end that was measured counts as unreachable. Longer than a transaction may
/// stay open, since an open one hides everything behind it.
const STALL: Duration = Duration::from_secs(90);
/// Time of one poll, and so until a stop is seen.
const POLL: Duration = Duration::from_millis(50);

/// The changelog of one partition, as it was when its end was measured.
#[derive(Clone, Copy)]
pub struct Changelog<'a> {
    /// Where it is.
    pub cluster: &'a Cluster,
    /// Which topic it is.
    pub facts: &'a TopicFacts,
    /// Which partition.
    pub partition: u32,
    /// Its ends.
    pub marks: Watermarks,
    /// Whether reading is to be given up.
    pub is_stopped: &'a dyn Fn() -> bool,
}

/// For reading that nobody stops.
pub fn never() -> bool {
    false
}

/// Names the changelog of a partition.
pub fn log_id(facts: &TopicFacts, partition: u32) -> LogId {
    let name = [facts.cluster_id.as_bytes(), &facts.topic_id, &partition.to_le_bytes()].concat();
    LogId(xxh3_128(&name).to_le_bytes())
}

impl Changelog<'_> {
    /// The first genesis or checkpoint; `None` where nothing was ever committed.
    ///
    /// # Errors
    /// [`Fault::RefusedByLog`] where there are records without one, or where they have been deleted.
    pub fn genesis(&mut self) -> Result<Option<Genesis>, Fault> {
        let partition = self.partition;
        changelog::genesis::<_, Index>(self).map_err(|error| refused(partition, error))
    }
}

impl Log for Changelog<'_> {
    type Error = Fault;

    fn id(&self) -> LogId {
        log_id(self.facts, self.partition)
    }

    fn bounds(&mut self) -> Result<Range<u64>, Fault> {
        Ok(self.marks.low..self.marks.high)
    }

    fn read(&mut self, start: Start, each: &mut dyn FnMut(Placed, &[u8]) -> ControlFlow<()>) -> Result<(), Fault> {
        let (partition, end) = (self.partition, self.marks.high);
        let mut reached = match start {
            Start::First => self.marks.low,
            // One record takes one offset; behind it may lie the marks of transactions.
            Start::Before(offset) => offset.saturating_sub(1).max(self.marks.low),
        };
        if reached >= end {
            return Ok(());
        }
        let mut reader = LogReader::open(self.cluster, topics::EVENTS_INDEX, partition, reached, Isolation::Committed)?;
        let mut moved = Instant::now();
        loop {
            match reader.read(POLL) {
                Read::Record(message) if message.offset() >= end => return Ok(()),
                Read::Record(message) => {
                    let (offset, bytes) = (message.offset(), message.value().unwrap_or_default());
                    if let Some(other) = partition_of(bytes).filter(|other| *other != partition) {
                        let why = format!("is damaged at {offset}: the record is partition {other}'s");
                        return Err(Fault::RefusedByLog(advised(partition, &why)));
                    }
                    reached = offset + 1;
                    let next = Point { next_offset: reached, leader_epoch: -1, checksum: checksum_of(bytes) };
                    let placed = Placed { offset, next, appended_ms: Some(message.appended_ms()) };
                    if each(placed, bytes).is_break() {
                        return Ok(());
                    }
                    moved = Instant::now();
                }
                Read::End | Read::Nothing => {}
                Read::OutOfRange => {
                    return Err(Fault::Again(format!("{EVENTS_INDEX} {partition} was cut while it was read")));
                }
                Read::Trouble(failure) => tracing::debug!(%failure, "reading the changelog"),
            }
            if (self.is_stopped)() {
                return Err(Fault::Released);
            }
            if reached + 1 >= end || moved.elapsed() > POLL {
                // The marks of transactions at the end are no records; the position passes them.
                if reader.position() >= end {
                    return Ok(());
                }
            }
            if moved.elapsed() > STALL {
                let at = reader.position().max(reached);
                return Err(Fault::Again(format!(
                    "the end of {EVENTS_INDEX} {partition} was not reached: it is at {end}, reading stands at {at}"
                )));
            }
        }
    }
}

/// What follows where a changelog was not read to its end, or must not be.
pub fn refused(partition: u32, error: RestoreError<Fault, IndexError>) -> Fault {
    match error {
        RestoreError::Log(fault) => fault,
        RestoreError::State(error) => error.into(),
        RestoreError::Stopped => Fault::Released,
        RestoreError::Unfinished => Fault::RefusedByLog(format!(
            "a rebuild of {EVENTS_INDEX} {partition} was interrupted; run `dedup-worker rebuild --from events.deduped` again"
        )),
        RestoreError::BeginsInsideWindow { .. } => Fault::RefusedByLog(format!(
            "{}, or go on with what is left with `dedup-worker run --begin-anew`",
            advised(partition, &error.to_string())
        )),
        RestoreError::Newer { .. } | RestoreError::TwoGeneses { .. } => {
            Fault::RefusedByLog(format!("{EVENTS_INDEX} {partition} {error}"))
        }
        error => Fault::RefusedByLog(advised(partition, &error.to_string())),
    }
}

fn advised(partition: u32, what: &str) -> String {
    format!(
        "{EVENTS_INDEX} {partition} {what}: what was published is not known any more, and would be published again. Make it \
         again with `dedup-worker rebuild --from events.deduped`"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    fn said(error: RestoreError<Fault, IndexError>) -> String {
        match refused(3, error) {
            Fault::RefusedByLog(said) => said,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn what_is_refused_says_what_to_do() {
        let remedy = "rebuild --from events.deduped";
        let damaged = said(RestoreError::Damaged { at: 7, why: "its checksum does not match its bytes" });
        assert!(
            damaged.starts_with("events.index 3 is damaged at 7: its checksum") && damaged.contains(remedy),
            "{damaged}"
        );
        let cut = said(RestoreError::BeginsInsideWindow { at: 9 });
        assert!(cut.contains("begins in the middle of the window, at 9") && cut.contains("--begin-anew"), "{cut}");
        let newer = said(RestoreError::Newer { at: 9, version: 2 });
        assert!(
            !newer.contains("rebuild"),
            "the truth of a newer program is not to be written in an old format: {newer}"
        );
        assert!(said(RestoreError::Unfinished).contains("events.index 3 was interrupted"));
        assert!(matches!(refused(3, RestoreError::Stopped), Fault::Released));
    }
}
