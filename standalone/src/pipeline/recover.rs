//! Bringing output, ledger and index into step after whatever happened.

use std::io;

use dedup::{ChangelogPoint, Index, IndexError};
use local_buffer::InstanceId;
use wire::changelog::{Genesis, OutputRange};
use wire::limits::CHANGELOG_ENTRIES_MAX;
use wire::{Bucket, Digest};

use super::{Layout, Pipeline, PipelineError};
use crate::identity::LineReader;
use crate::ledger::{Ledger, LedgerEnd, LedgerError, Reached};
use crate::output::{Output, Place, Tail};

/// What opening found and did.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Recovered {
    /// Complete output lines that the ledger did not know and does now.
    pub adopted: u64,
    /// Lines among them that are not of this program's making: left where they are, known to nobody.
    pub foreign: u64,
    /// Bytes of a partial output line that were cut.
    pub bytes_cut: u64,
    /// Whether output that the ledger names is gone.
    pub output_missing: bool,
    /// Why the index was thrown away and replayed from the ledger's beginning, if it was.
    pub index_rebuilt: Option<String>,
    /// Batches replayed into the index.
    pub batches_replayed: u64,
}

/// How far a long opening has come.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Progress {
    /// Bytes of output lines entered into the ledger.
    Adopting(u64),
    /// Ledger offset up to which the index has been replayed, and where the ledger ends.
    Replaying {
        /// Reached.
        offset: u64,
        /// To be reached.
        end: u64,
    },
}

pub(super) fn open(
    layout: Layout,
    instance: InstanceId,
    new_genesis: &Genesis,
    options: &dedup::Options,
    now_ms: i64,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Pipeline, Recovered), PipelineError> {
    let mut recovered = Recovered::default();
    let mut ledger = Ledger::open(&layout.ledger, layout.ledger_file_bytes_max, new_genesis)?;
    let output = adopt(&layout, &mut ledger, now_ms, &mut recovered, progress)?;
    let rejected = rejected_output(&layout)?;
    let index = index(&layout, &ledger, options, &mut recovered, progress)?;
    let pipeline = Pipeline {
        layout,
        instance,
        output,
        rejected,
        ledger,
        index,
        candidates: Vec::new(),
        verdicts: Vec::new(),
        #[cfg(test)]
        crash_at: None,
    };
    Ok((pipeline, recovered))
}

/// What an index keeps of the ledger it was made from.
pub(super) fn point(end: LedgerEnd) -> ChangelogPoint {
    ChangelogPoint { next_offset: end.offset, leader_epoch: -1, checksum: end.checksum }
}

/// Opens the output; what it holds beyond the ledger goes to the ledger, durably, before anything new is written.
fn adopt(
    layout: &Layout,
    ledger: &mut Ledger,
    now_ms: i64,
    recovered: &mut Recovered,
    progress: &mut dyn FnMut(Progress),
) -> Result<Output, PipelineError> {
    let known = ledger.reached().output;
    let place = Place { number: known.log.max(1), offset: known.end };
    let (seed, window) = (ledger.genesis().seed, ledger.genesis().window);
    let clock_ms = ledger.reached().clock_ms.max(now_ms);
    let mut entries: Vec<(Digest, Bucket)> = Vec::new();
    let mut reader = LineReader::default();
    let (mut foreign, mut bytes) = (0, 0);
    let adopted = Output::open(&layout.deduped, place, layout.output_file_bytes_max, |line| {
        bytes += line.len() as u64 + 1;
        match reader.read(seed, line) {
            Some(published) => {
                entries.push((published.digest, window.bucket_of(published.received_at_ms, clock_ms)));
            }
            None => foreign += 1,
        }
        if entries.len() == CHANGELOG_ENTRIES_MAX {
            // The output place moves with the last of them only: until then a crash adopts these again.
            adopt_entries(ledger, known, &mut entries).map_err(io::Error::other)?;
            progress(Progress::Adopting(bytes));
        }
        Ok(())
    });
    let (output, Tail { lines, bytes_cut, missing }) =
        adopted.map_err(|source| PipelineError::Output { path: layout.deduped.clone(), source })?;
    let end = output.end();
    let reached = OutputRange { log: end.number, start: end.offset, end: end.offset };
    if lines > 0 || missing {
        adopt_entries(ledger, reached, &mut entries)?;
        ledger.sync()?;
    }
    *recovered =
        Recovered { adopted: lines - foreign, foreign, bytes_cut, output_missing: missing, ..Recovered::default() };
    Ok(output)
}

fn adopt_entries(
    ledger: &mut Ledger,
    output: OutputRange,
    entries: &mut Vec<(Digest, Bucket)>,
) -> Result<(), LedgerError> {
    let reached = Reached { output, ..ledger.reached().clone() };
    ledger.append(reached, entries)?;
    entries.clear();
    Ok(())
}

/// Opens the files of the events set aside behind their last complete line. A batch that is put through twice leaves
/// its set-aside events there twice: they have no identity to be known by.
fn rejected_output(layout: &Layout) -> Result<Output, PipelineError> {
    let folder = &layout.rejected;
    Output::last_line_end(folder)
        .and_then(|place| Output::open(folder, place, layout.output_file_bytes_max, |_| Ok(())))
        .map(|(output, _)| output)
        .map_err(|source| PipelineError::Output { path: folder.clone(), source })
}

/// Opens the index and replays what it lacks. An index that is damaged, or not of this ledger, is a cache that lies:
/// it is thrown away and made again.
fn index(
    layout: &Layout,
    ledger: &Ledger,
    options: &dedup::Options,
    recovered: &mut Recovered,
    progress: &mut dyn FnMut(Progress),
) -> Result<Index, PipelineError> {
    let mistrust = match replayed(layout, ledger, options, recovered, progress) {
        Ok(Some(partition)) => return Ok(partition),
        Ok(None) => "it has applied what the ledger does not hold".to_owned(),
        Err(PipelineError::Index(error @ (IndexError::Damaged(_) | IndexError::Foreign { .. }))) => error.to_string(),
        Err(error) => return Err(error),
    };
    recovered.index_rebuilt = Some(mistrust);
    recovered.batches_replayed = 0;
    Index::destroy(&layout.index)?;
    let partition = replayed(layout, ledger, options, recovered, progress)?;
    partition.ok_or_else(|| IndexError::Damaged("a new index is not empty".into()).into())
}

/// `None` where the index is ahead of the ledger.
fn replayed(
    layout: &Layout,
    ledger: &Ledger,
    options: &dedup::Options,
    recovered: &mut Recovered,
    progress: &mut dyn FnMut(Progress),
) -> Result<Option<Index>, PipelineError> {
    let mut partition = Index::open(&layout.index, ledger.genesis(), ledger.id(), options)?;
    let covered = partition.replay_from();
    if let Some(end) = covered
        && ledger.checksum_before(end.next_offset)? != Some(end.checksum)
    {
        return Ok(None);
    }
    ledger.replay(covered.map_or(0, |end| end.next_offset), |offset, end, batch| {
        partition.replay(offset, point(end), batch)?;
        partition.maintain(batch.clock_ms)?;
        recovered.batches_replayed += 1;
        progress(Progress::Replaying { offset: end.offset, end: ledger.end().offset });
        Ok::<_, PipelineError>(())
    })?;
    Ok(Some(partition))
}
