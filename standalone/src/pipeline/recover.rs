//! Bringing output, ledger and index into step after whatever happened.

use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use changelog::{Beginning, Mistrust, RestoreError, Restored};
use dedup::{Index, IndexError};
use local_buffer::InstanceId;
use wire::changelog::{FileRange, Genesis};
use wire::limits::CHANGELOG_ENTRIES_MAX;
use wire::window::INPUT_RETENTION;
use wire::{Bucket, Digest};

use super::{Layout, Pipeline, PipelineError};
use crate::identity::LineReader;
use crate::ledger::{Ledger, LedgerError, Reached};
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
    pub index_thrown_away: Option<Mistrust>,
    /// Records of the ledger replayed into the index.
    pub records_replayed: u64,
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
    newest_ms: i64,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Pipeline, Recovered), PipelineError> {
    let mut ledger = Ledger::open(&layout.ledger, layout.ledger_file_bytes_max, new_genesis)?;
    let (output, mut recovered) = adopt(&layout, &mut ledger, newest_ms, progress)?;
    let rejected = rejected_output(&layout)?;
    let restored = index(&layout, &mut ledger, options, progress)?;
    let bucket = Duration::from_millis(ledger.genesis().window.bucket_ms());
    let clock = restored.clock(bucket, INPUT_RETENTION);
    recovered.records_replayed = restored.records;
    recovered.index_thrown_away = restored.thrown_away;
    let pipeline = Pipeline {
        layout,
        instance,
        output,
        rejected,
        ledger,
        index: restored.state,
        positions: restored.positions,
        clock,
        candidates: Vec::new(),
        verdicts: Vec::new(),
        #[cfg(test)]
        crash_at: None,
    };
    Ok((pipeline, recovered))
}

/// Opens the output; what it holds beyond the ledger goes to the ledger, durably, before anything new is written.
fn adopt(
    layout: &Layout,
    ledger: &mut Ledger,
    newest_ms: i64,
    progress: &mut dyn FnMut(Progress),
) -> Result<(Output, Recovered), PipelineError> {
    let known = ledger.reached().output;
    let place = Place { number: known.file.max(1), offset: known.end };
    let (seed, window) = (ledger.genesis().seed, ledger.genesis().window);
    let clock_ms = ledger.reached().clock_ms;
    let mut entries: Vec<(Digest, Bucket)> = Vec::new();
    let mut reader = LineReader::default();
    let (mut foreign, mut bytes) = (0, 0);
    let adopted = Output::open(&layout.deduped, place, layout.output_file_bytes_max, |line| {
        bytes += line.len() as u64 + 1;
        match reader.read(seed, line) {
            Some(published) => {
                let bucket = window.bucket_of(published.received_at_ms, clock_ms, newest_ms);
                entries.push((published.digest, bucket));
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
    let reached = FileRange { file: end.number, start: end.offset, end: end.offset };
    if lines > 0 || missing {
        adopt_entries(ledger, reached, &mut entries)?;
        ledger.sync()?;
    }
    let adopted = lines - foreign;
    let recovered = Recovered { adopted, foreign, bytes_cut, output_missing: missing, ..Recovered::default() };
    Ok((output, recovered))
}

fn adopt_entries(
    ledger: &mut Ledger,
    output: FileRange,
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

/// Opens the index and replays what it lacks. One that is not what the ledger says is thrown away and made again.
fn index(
    layout: &Layout,
    ledger: &mut Ledger,
    options: &dedup::Options,
    progress: &mut dyn FnMut(Progress),
) -> Result<Restored<Index>, PipelineError> {
    let genesis = *ledger.genesis();
    let tell = &mut |changelog::Progress { offset, end, .. }: changelog::Progress| {
        progress(Progress::Replaying { offset, end });
        ControlFlow::Continue(())
    };
    changelog::restore(ledger, &layout.index, None, (&genesis, options), Beginning::MustBeThere, tell).map_err(refused)
}

fn refused(error: RestoreError<LedgerError, IndexError>) -> PipelineError {
    match error {
        RestoreError::Log(error) => error.into(),
        RestoreError::State(error) => error.into(),
        error => PipelineError::Refused(error.to_string()),
    }
}
