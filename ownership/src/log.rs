//! The log of one lane, read from Kafka.

use std::ops::{ControlFlow, Range};
use std::time::{Duration, Instant};

use changelog::{LogId, Placed, Point, RestoreError, Start};
use kafka::{LogReader, Read, TopicFacts, Watermarks};
use wire::changelog::checksum_of;
use xxhash_rust::xxh3::xxh3_128;

use crate::{Fault, Reading, Spec};

/// Time without any progress after which the end that was measured counts as unreachable. Longer than a transaction may
/// stay open, since an open one hides everything behind it.
const STALL: Duration = Duration::from_secs(90);
/// Time of one poll, and so until a stop is seen.
const POLL: Duration = Duration::from_millis(50);

/// The log of one lane, as it was when its end was measured.
#[derive(Clone, Copy)]
pub struct Log<'a> {
    /// What all lanes of its kind have in common.
    pub spec: &'a Spec,
    /// Which topic it is.
    pub facts: &'a TopicFacts,
    /// Which lane.
    pub lane: u32,
    /// Its ends.
    pub marks: Watermarks,
    /// What it is read with.
    pub reading: &'a Reading,
    /// Whether reading is to be given up.
    pub is_stopped: &'a dyn Fn() -> bool,
}

/// For reading that nobody stops.
pub fn never() -> bool {
    false
}

/// Names the log of a lane of this topic.
pub fn log_id(facts: &TopicFacts, lane: u32) -> LogId {
    let TopicFacts { cluster_id, topic_id, .. } = facts;
    LogId(xxh3_128(&[cluster_id.as_bytes(), topic_id, &lane.to_le_bytes()].concat()).to_le_bytes())
}

impl Log<'_> {
    /// What follows where the log was not read to its end, or must not be; `of_state` says what an error of the state means.
    pub fn refused<E: std::fmt::Display>(
        &self,
        error: RestoreError<Fault, E>,
        of_state: impl FnOnce(E) -> Fault,
    ) -> Fault {
        let Self { spec: Spec { topic, remedy, remedy_beginning, .. }, lane, .. } = self;
        match error {
            RestoreError::Log(fault) => fault,
            RestoreError::State(error) => of_state(error),
            RestoreError::Stopped => Fault::Released,
            RestoreError::Unfinished => Fault::RefusedByLog(format!("{topic} {lane}: {error}; {remedy}")),
            RestoreError::BeginsInsideWindow { .. } => {
                Fault::RefusedByLog(format!("{}, or {remedy_beginning}", self.lost(&error.to_string())))
            }
            RestoreError::Older { .. } => Fault::RefusedByLog(format!("{topic} {lane} {error}; {remedy}")),
            RestoreError::Newer { .. } | RestoreError::TwoGeneses { .. } => {
                Fault::RefusedByLog(format!("{topic} {lane} {error}"))
            }
            error => Fault::RefusedByLog(self.lost(&error.to_string())),
        }
    }

    /// A log of which something is gone, and what to do.
    pub fn lost(&self, what: &str) -> String {
        let Self { spec: Spec { topic, remedy, .. }, lane, .. } = self;
        format!(
            "{topic} {lane} {what}: what was published is not known any more, and would be published again; {remedy}"
        )
    }
}

impl changelog::Log for Log<'_> {
    type Error = Fault;

    fn id(&self) -> LogId {
        log_id(self.facts, self.lane)
    }

    fn bounds(&mut self) -> Result<Range<u64>, Fault> {
        Ok(self.marks.low..self.marks.high)
    }

    fn read(&mut self, start: Start, each: &mut dyn FnMut(Placed, &[u8]) -> ControlFlow<()>) -> Result<(), Fault> {
        let reached = match start {
            Start::First => self.marks.low,
            // One record takes one offset; behind it may lie the marks of transactions.
            Start::Before(offset) => offset.saturating_sub(1).max(self.marks.low),
        };
        if reached >= self.marks.high {
            return Ok(());
        }
        let mut client = self.reading.begin(self.spec, self.lane, reached)?;
        self.read_with(&mut client.reader, reached, each)?;
        self.reading.keep(client);
        Ok(())
    }
}

impl Log<'_> {
    /// Reads from where the reader stands, at `reached`, to the measured end.
    fn read_with(
        &self,
        reader: &mut LogReader,
        mut reached: u64,
        each: &mut dyn FnMut(Placed, &[u8]) -> ControlFlow<()>,
    ) -> Result<(), Fault> {
        let (Spec { topic, lane_of, .. }, lane, end) = (self.spec, self.lane, self.marks.high);
        let mut moved = Instant::now();
        loop {
            match reader.read(POLL) {
                Read::Record(message) if message.offset() >= end => return Ok(()),
                Read::Record(message) => {
                    let (offset, bytes) = (message.offset(), message.value().unwrap_or_default());
                    if let Some(other) = lane_of(bytes).filter(|other| *other != lane) {
                        let why = format!("is damaged at {offset}: the record is lane {other}'s");
                        return Err(Fault::RefusedByLog(self.lost(&why)));
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
                Read::OutOfRange => return Err(Fault::Again(format!("{topic} {lane} was cut while it was read"))),
                Read::Trouble(failure) => tracing::debug!(%failure, "reading a log"),
            }
            if (self.is_stopped)() {
                return Err(Fault::Released);
            }
            // The marks of transactions at the end are no records; the position passes them.
            if reader.position() >= end {
                return Ok(());
            }
            if moved.elapsed() > STALL {
                let at = reader.position().max(reached);
                let why = format!("the end of {topic} {lane} was not reached: it is at {end}, reading stands at {at}");
                return Err(Fault::Again(why));
            }
        }
    }
}

impl std::fmt::Debug for Log<'_> {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Log").field("lane", &self.lane).field("marks", &self.marks).finish_non_exhaustive()
    }
}
