//! `turnstile rebuild`: the dedup index made again.

use std::fs;
use std::path::Path;

use indicatif::{ProgressBar, ProgressStyle};
use local_buffer::Queue;
use service::{DataDir, Failure, say};

use crate::config::Config;
use crate::pipeline::{Pipeline, Progress, Recovered};
use crate::run::new_genesis;
use crate::time::now_ms;

/// What an index is made again from.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum RebuildFrom {
    /// The ledger; what was published and is still in the window.
    Ledger,
    /// The output files, for a ledger that is damaged or gone. Files that were moved away are not known afterwards.
    Output,
}

/// Throws the dedup index away and makes it again. The server must not be running.
///
/// # Errors
/// Wrong settings, data in use, a ledger that is damaged where it is made from that.
pub fn rebuild(file: Option<&Path>, from: RebuildFrom) -> Result<(), Failure> {
    let config = service::begin(file, |config: &Config| &config.log)?;
    let _data = DataDir::lock(&config.data, "turnstile", "TURNSTILE_DATA")?;
    let layout = config.layout();
    let (queue, _) = Queue::open(config.buffer_dir(), config.ingest.buffer.options()).map_err(Failure::failed)?;
    if from == RebuildFrom::Output && layout.ledger.exists() {
        let aside = config.data.join(format!("ledger.{}", now_ms()));
        fs::rename(&layout.ledger, &aside).map_err(Failure::failed)?;
        say(format_args!("the old ledger is now {}", aside.display()))?;
    }
    dedup::Index::destroy(&layout.index).map_err(Failure::failed)?;
    let bar = Bar::new();
    let mut progress = |progress| bar.show(progress);
    let options = config.index_options();
    let opened = Pipeline::open(layout, queue.instance(), &new_genesis()?, &options, now_ms(), &mut progress);
    bar.0.finish_and_clear();
    let (pipeline, Recovered { adopted, foreign, records_replayed, .. }) = opened.map_err(Failure::failed)?;
    let index = pipeline.index_stats();
    let known = index.sealed_digests + index.open_digests;
    say(format_args!(
        "{known} identities known: {records_replayed} records of the ledger, {adopted} lines of the output"
    ))?;
    if foreign > 0 {
        say(format_args!("{foreign} lines of the output are not turnstile's and were passed over"))?;
    }
    queue.close().map_err(Failure::failed)
}

/// How far it has come, for a person; nothing where nobody watches.
struct Bar(ProgressBar);

impl Bar {
    fn new() -> Self {
        Self(ProgressBar::no_length())
    }

    fn show(&self, progress: Progress) {
        let (line, position, length) = match progress {
            Progress::Adopting(bytes) => ("output  {bytes} read, {bytes_per_sec}", bytes, None),
            Progress::Replaying { offset, end } => {
                ("ledger  {bar:40} {bytes} of {total_bytes}, {bytes_per_sec}, {eta} left", offset, Some(end))
            }
        };
        if self.0.length() != length {
            self.0.set_style(ProgressStyle::with_template(line).unwrap_or_else(|_| ProgressStyle::default_bar()));
            self.0.reset();
            if let Some(end) = length {
                self.0.set_length(end);
            }
        }
        self.0.set_position(position);
    }
}
