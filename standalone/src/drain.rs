//! The thread that takes records out of the local buffer, puts them through the pipeline and moves the floor.

use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering::Relaxed;
use std::thread::{self, JoinHandle};
use std::time::Duration;

use local_buffer::{Batch, InstanceId, Reader};
use service::Shutdown;
use thiserror::Error;
use tracing::{error, info, warn};
use wire::changelog::Genesis;

use crate::figures::{Figures, State};
use crate::pipeline::{Decoded, Layout, Pipeline, PipelineError, Recovered};
use crate::time::{Clocks, Time};

/// Records of one batch at most; far below what a ledger record holds.
const BATCH_RECORDS_MAX: usize = 16_384;
/// Bytes of one batch at most.
const BATCH_BYTES_MAX: usize = 8 * 1024 * 1024;
/// Pause after a batch that was not full. Each batch costs two syncs, which the disk then does not have for answers;
/// under load batches fill up instead, and nobody waits for the output in milliseconds.
const LINGER: Duration = Duration::from_millis(10);
/// How long to wait for records before looking after the index again.
const IDLE: Duration = Duration::from_secs(1);
/// First pause after a failure; it doubles up to the last.
const RETRY_FIRST: Duration = Duration::from_millis(100);
/// Last pause after failures.
const RETRY_LAST: Duration = Duration::from_secs(5);

/// Why the drain had to begin again.
#[derive(Debug, Error)]
enum DrainError {
    #[error(transparent)]
    Pipeline(#[from] PipelineError),
    #[error("local buffer: {0}")]
    Buffer(#[from] local_buffer::ReadError),
}

/// What the thread works with.
pub(crate) struct Drain {
    /// The only reader of the local buffer.
    pub reader: Reader,
    /// Which buffer that is.
    pub instance: InstanceId,
    /// Where everything else is.
    pub layout: Layout,
    /// The genesis of a ledger that does not exist yet.
    pub new_genesis: Genesis,
    /// Settings of the index.
    pub options: dedup::Options,
    /// Its clocks.
    pub clocks: Clocks,
    /// The wall is right, however long after the ledger's newest record.
    pub believes_wall: bool,
    /// What it tells of itself.
    pub figures: Arc<Figures>,
    /// Given when nothing more comes in: the drain ends as soon as the buffer is empty.
    pub finish: Shutdown,
    /// Given with it where another process waits for the data: the drain ends behind the batch at hand.
    pub leave: Shutdown,
}

impl Drain {
    /// Starts the thread.
    ///
    /// # Errors
    /// Where the operating system refuses a thread.
    pub(crate) fn spawn(mut self) -> io::Result<JoinHandle<()>> {
        thread::Builder::new().name("drain".into()).spawn(move || self.run())
    }

    /// Drains until the buffer is empty after [`Drain::finish`] was given, or [`Drain::leave`]. A failure drops everything that is believed
    /// and begins again from what the disk says.
    fn run(&mut self) {
        let mut pause = RETRY_FIRST;
        let (mut batch, mut time) = (Batch::default(), None);
        loop {
            let batches = self.figures.counters.batches.load(Relaxed);
            let Err(failure) = self.drain(&mut batch, &mut time) else { break };
            if self.figures.counters.batches.load(Relaxed) > batches {
                pause = RETRY_FIRST;
            }
            let reason = failure.to_string();
            if self.figures.state() != State::Failing(reason.clone()) {
                error!(%reason, "drain failed, trying again until it works; events stay in the local buffer");
                self.figures.enter(State::Failing(reason));
            }
            self.figures.counters.failures.fetch_add(1, Relaxed);
            if self.finish.wait_timeout(pause) {
                warn!("drain ends with records left in the local buffer; the next start continues");
                return;
            }
            pause = (pause * 2).min(RETRY_LAST);
        }
        self.figures.enter(State::Stopped);
    }

    fn drain(&mut self, batch: &mut Batch, time: &mut Option<Time>) -> Result<(), DrainError> {
        let was_failing = matches!(self.figures.state(), State::Failing(_));
        let newest_ms = time.map_or((self.clocks.wall_ms)(), |time| time.now().newest_ms());
        let (layout, genesis) = (self.layout.clone(), &self.new_genesis);
        let (mut pipeline, recovered) =
            Pipeline::open(layout, self.instance, genesis, &self.options, newest_ms, &mut |_| ())?;
        self.opened(&pipeline, &recovered, was_failing);
        self.reader.rewind();
        let done = pipeline.next_record();
        let time = time.get_or_insert_with(|| Time::start(self.clocks, pipeline.persisted_ms(), self.believes_wall));
        loop {
            let count = self.reader.read(batch, BATCH_RECORDS_MAX, BATCH_BYTES_MAX)?;
            if count == 0 {
                pipeline.idle(time)?;
                self.figures.index_is(pipeline.index_stats());
                if self.finish.is_triggered() {
                    self.reader.sync_floor()?;
                    return Ok(());
                }
                self.reader.wait(IDLE);
                continue;
            }
            let full = count == BATCH_RECORDS_MAX || batch.bytes() >= BATCH_BYTES_MAX / 2;
            let Some(end) = batch.end() else { continue };
            let decoded = Decoded::of(batch.iter().filter(|(id, _)| *id >= done));
            let outcome = pipeline.process(&decoded, end, time)?;
            for (id, record) in &decoded.unreadable {
                self.reader.quarantine(*id, record, "not an envelope of a version this program knows")?;
            }
            self.reader.acknowledge(end)?;
            pipeline.maintain()?;
            self.figures.batch(&outcome);
            self.figures.index_is(pipeline.index_stats());
            if self.leave.is_triggered() {
                self.reader.sync_floor()?;
                return Ok(());
            }
            if !full {
                self.finish.wait_timeout(LINGER);
            }
        }
    }

    fn opened(&self, pipeline: &Pipeline, recovered: &Recovered, was_failing: bool) {
        let Recovered { adopted, foreign, bytes_cut, records_replayed, .. } = *recovered;
        if let Some(reason) = &recovered.index_thrown_away {
            warn!(%reason, records_replayed, "the dedup index was thrown away and made again from the ledger");
        }
        if recovered.output_missing {
            warn!("output that the ledger names is gone; writing goes on in a new file");
        }
        if foreign > 0 {
            warn!(foreign, "lines behind the known end of the output are not this program's; they were left there");
        }
        info!(adopted, bytes_cut, records_replayed, was_failing, "output, ledger and index are in step");
        self.figures.recovered(recovered);
        self.figures.index_is(pipeline.index_stats());
        self.figures.enter(State::Running);
    }
}
