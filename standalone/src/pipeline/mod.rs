//! From buffer records to published lines, each event once.
//!
//! One batch goes through five steps, and every promise hangs on their order:
//!
//! 1. its lines are written to the output and synced,
//! 2. its identities, the buffer position and the output place are written to the ledger and synced,
//! 3. the index learns the identities,
//! 4. the caller moves the buffer's floor.
//!
//! | killed | what is left | what [`Pipeline::open`] does |
//! |---|---|---|
//! | before 1 | nothing | the records are read again |
//! | inside 1 | complete lines that the ledger does not know, perhaps half a line | the half is cut; the complete ones are *adopted*: their identities go to the ledger, because somebody may have read them, and their records, read again, are duplicates |
//! | between 1 and 2, inside 2 | the same, perhaps with a torn ledger record | the torn record is cut, then the same |
//! | between 2 and 3 | the index is behind the ledger | it is replayed from the ledger |
//! | between 3 and 4 | the buffer's floor is behind the ledger | records below the ledger's position are passed over |
//!
//! Anything but success (a full disk, a failed sync, a damaged index) has one answer: the caller drops the pipeline
//! and opens it again, so that what is believed is what the disk says.

mod decoded;
mod recover;
#[cfg(test)]
mod tests;

use std::io;
use std::path::{Path, PathBuf};

use changelog::{Clock, InputId, Positions, Reached as How};
use dedup::{Candidate, Index, IndexError, Verdict};
use local_buffer::{InstanceId, RecordId};
use thiserror::Error;
use wire::changelog::{FileRange, Genesis, Position};
use wire::envelope::Event;
use wire::{Digest, MessageId, SourceId};

use crate::ledger::{LANE, Ledger, LedgerError, Reached};
use crate::output::Output;
use crate::time::Time;

pub use decoded::Decoded;
pub use recover::{Progress, Recovered};

/// The buffer is the only input there is,
const THE_BUFFER: InputId = InputId(0);
/// and has no topics.
const NO_TOPIC: [u8; 16] = [0; 16];

/// Where everything is and how large its files become.
#[derive(Debug, Clone)]
pub struct Layout {
    /// Folder of the output files.
    pub deduped: PathBuf,
    /// Folder of the events that were set aside.
    pub rejected: PathBuf,
    /// Folder of the ledger.
    pub ledger: PathBuf,
    /// Folder of the index.
    pub index: PathBuf,
    /// Bytes at which an output file is finished.
    pub output_file_bytes_max: u64,
    /// Bytes at which a ledger file is finished.
    pub ledger_file_bytes_max: u64,
}

impl Layout {
    /// The folders below a data folder, with files of 256 MiB and 64 MiB.
    pub fn below(data: &Path) -> Self {
        Self {
            deduped: data.join("deduped"),
            rejected: data.join("rejected"),
            ledger: data.join("ledger"),
            index: data.join("index"),
            output_file_bytes_max: 256 << 20,
            ledger_file_bytes_max: 64 << 20,
        }
    }
}

/// Why a batch did not get through. The pipeline must be opened again whatever it was.
#[derive(Debug, Error)]
pub enum PipelineError {
    /// The output or the rejected files cannot be written.
    #[error("{path}: {source}")]
    Output {
        /// Which folder.
        path: PathBuf,
        /// What the file system said.
        source: io::Error,
    },
    /// The ledger cannot be written or is damaged.
    #[error(transparent)]
    Ledger(#[from] LedgerError),
    /// The index.
    #[error("dedup index: {0}")]
    Index(#[from] IndexError),
    /// The ledger cannot be what the index is made from.
    #[error("the ledger {0}; `turnstile rebuild --from output` makes a new one from the output files")]
    Refused(String),
    /// A test's crash.
    #[cfg(test)]
    #[error("crashed at {0:?}")]
    Crash(Step),
}

/// The moments between which a crash makes a difference; tests crash at each.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// The lines are written, not synced.
    OutputWritten,
    /// The lines are durable.
    OutputSynced,
    /// The ledger record is written, not synced.
    LedgerWritten,
    /// The ledger record is durable.
    LedgerSynced,
    /// The index knows.
    IndexUpdated,
}

/// What became of the records of one batch.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Outcome {
    /// Events published for the first time.
    pub published: u64,
    /// Events that had been published before.
    pub duplicates: u64,
    /// Published events that were older than the window: a repeat of them might not be known.
    pub expired: u64,
    /// Events that were set aside when they came in.
    pub rejected: u64,
    /// Bytes of lines written.
    pub output_bytes: u64,
    /// Records that are no envelopes.
    pub unreadable: u64,
}

/// Output, ledger and index, in step.
pub struct Pipeline {
    layout: Layout,
    instance: InstanceId,
    output: Output,
    rejected: Output,
    ledger: Ledger,
    index: Index,
    positions: Positions,
    clock: Clock,
    candidates: Vec<Candidate>,
    verdicts: Vec<Verdict>,
    #[cfg(test)]
    crash_at: Option<Step>,
}

impl Pipeline {
    /// Opens everything and brings it into step; see the table above. `newest_ms` is the latest that it may be now; it
    /// tells `progress` after every batch.
    ///
    /// # Errors
    /// [`PipelineError`]; opening again later may succeed, unless the ledger is damaged.
    pub fn open(
        layout: Layout,
        instance: InstanceId,
        new_genesis: &Genesis,
        options: &dedup::Options,
        newest_ms: i64,
        progress: &mut dyn FnMut(Progress),
    ) -> Result<(Self, Recovered), PipelineError> {
        recover::open(layout, instance, new_genesis, options, newest_ms, progress)
    }

    /// The first record that the ledger does not count as done; records below it are passed over.
    pub(crate) fn next_record(&self) -> RecordId {
        let known = self.positions.of(&self.instance.to_bytes(), NO_TOPIC, LANE);
        RecordId::from_u64(known.map_or(0, |position| position.next_offset))
    }

    /// The newest time that is known to have been, milliseconds since the Unix epoch: what the wall is compared with.
    pub(crate) fn persisted_ms(&self) -> i64 {
        self.clock.now_ms().max(self.ledger.genesis().created_ms)
    }

    /// The buffer is read to its end: the window's clock moves to now, and what is due is done.
    ///
    /// # Errors
    /// [`PipelineError`]; the pipeline must be opened again.
    pub fn idle(&mut self, time: &mut Time) -> Result<(), PipelineError> {
        self.move_clock(How::End, time)?;
        self.maintain()?;
        Ok(())
    }

    /// Moves the window's clock to what has been reached of the buffer. Each step that it enters is committed to the
    /// ledger before it goes further.
    fn move_clock(&mut self, reached: How, time: &mut Time) -> Result<(), PipelineError> {
        loop {
            time.moved(self.clock.advance([(THE_BUFFER, reached)], time.now()));
            if !self.clock.wants_commit() {
                return Ok(());
            }
            let clock_ms = self.clock.now_ms();
            let end = self.ledger.append(Reached { clock_ms, ..self.ledger.reached().clone() }, &[])?;
            self.ledger.sync()?;
            self.index.advance(end, clock_ms);
            self.clock.entered();
        }
    }

    /// Puts one batch through, decided at the time of its first record. `end` is the id behind its last one. When this
    /// returns the batch is done for good.
    ///
    /// # Errors
    /// [`PipelineError`]; nothing of the batch counts as done, the pipeline must be opened again.
    pub fn process(&mut self, batch: &Decoded<'_>, end: RecordId, time: &mut Time) -> Result<Outcome, PipelineError> {
        if let Some(appended_ms) = batch.received_at_ms {
            self.move_clock(How::Behind { appended_ms }, time)?;
        }
        let (clock_ms, newest_ms) = (self.clock.now_ms(), time.now().newest_ms());
        let (rejected, unreadable) = (batch.set_aside.len() as u64, batch.unreadable.len() as u64);
        let mut outcome = Outcome { rejected, unreadable, ..Outcome::default() };
        let seed = self.ledger.genesis().seed;
        let candidate = |event: &Event<'_>| {
            let digest = Digest::of(seed, event.source, event.message_id);
            Candidate { digest, received_at_ms: event.received_at_ms }
        };
        self.candidates.clear();
        self.candidates.extend(batch.events.iter().map(candidate));
        let decided = self.index.decide(&self.candidates, clock_ms, newest_ms, &mut self.verdicts)?;
        for (event, verdict) in batch.events.iter().zip(&self.verdicts) {
            match verdict {
                Verdict::Duplicate => outcome.duplicates += 1,
                Verdict::New => outcome.published += 1,
                Verdict::Expired => {
                    outcome.published += 1;
                    outcome.expired += 1;
                }
            }
            if *verdict != Verdict::Duplicate {
                self.output.push(event.value);
            }
        }
        batch.set_aside.iter().for_each(|value| self.rejected.push(value));
        if outcome.rejected > 0 {
            write(&mut self.rejected, &self.layout.rejected)?;
            sync(&self.rejected, &self.layout.rejected)?;
        }
        if outcome.published == 0 {
            // Nothing to make known. Should the floor not get further either, these are duplicates once more.
            self.index.discard();
            return Ok(outcome);
        }
        let output = write(&mut self.output, &self.layout.deduped)?;
        outcome.output_bytes = output.end - output.start;
        self.passed(Step::OutputWritten)?;
        sync(&self.output, &self.layout.deduped)?;
        self.passed(Step::OutputSynced)?;
        let position = Position { partition: LANE, leader_epoch: -1, next_offset: end.get(), appended_ms: -1 };
        self.positions.advance(&self.instance.to_bytes(), NO_TOPIC, position);
        let reached = Reached { positions: self.positions.as_slice().to_vec(), output, clock_ms };
        let ledger_end = self.ledger.append(reached, decided.entries())?;
        self.passed(Step::LedgerWritten)?;
        self.ledger.sync()?;
        self.passed(Step::LedgerSynced)?;
        self.index.commit(decided, ledger_end);
        self.passed(Step::IndexUpdated)?;
        Ok(outcome)
    }

    /// Seals and expires what is due, and deletes ledger files that nothing needs any more. Cheap when nothing is due.
    ///
    /// # Errors
    /// [`PipelineError`].
    pub fn maintain(&mut self) -> Result<dedup::Maintenance, PipelineError> {
        let clock_ms = self.clock.now_ms();
        let maintenance = self.index.maintain(clock_ms)?;
        if let (true, Some(covered)) = (maintenance.digests_sealed > 0, self.index.replay_from()) {
            self.ledger.prune(covered.next_offset, clock_ms)?;
        }
        Ok(maintenance)
    }

    /// The index's figures.
    pub(crate) fn index_stats(&self) -> dedup::Stats {
        self.index.stats()
    }

    /// In which bucket of the window an identity is known.
    ///
    /// # Errors
    /// [`IndexError`].
    pub fn lookup(&self, source: SourceId<'_>, message_id: MessageId<'_>) -> Result<Option<wire::Bucket>, IndexError> {
        self.index.lookup(Digest::of(self.ledger.genesis().seed, source, message_id))
    }

    #[cfg(test)]
    fn passed(&self, step: Step) -> Result<(), PipelineError> {
        if self.crash_at == Some(step) { Err(PipelineError::Crash(step)) } else { Ok(()) }
    }

    #[cfg(not(test))]
    #[expect(clippy::unnecessary_wraps, clippy::unused_self, reason = "tests crash here")]
    fn passed(&self, _: Step) -> Result<(), PipelineError> {
        Ok(())
    }
}

fn write(output: &mut Output, folder: &Path) -> Result<FileRange, PipelineError> {
    let (start, end) = output.write().map_err(|source| PipelineError::Output { path: folder.to_owned(), source })?;
    Ok(FileRange { file: start.number, start: start.offset, end: end.offset })
}

fn sync(output: &Output, folder: &Path) -> Result<(), PipelineError> {
    output.sync().map_err(|source| PipelineError::Output { path: folder.to_owned(), source })
}
