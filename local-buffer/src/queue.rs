//! The owner of a buffer: opens it, runs its threads, closes it.

use std::any::Any;
use std::io;
use std::path::Path;
use std::sync::Arc;
use std::thread::{Builder, JoinHandle};

use crate::append::Appender;
use crate::error::{CloseError, OpenError};
use crate::id::{InstanceId, RecordId};
use crate::lock::lock;
use crate::open::{Opened, RecoveryReport, open};
use crate::options::{Bounds, DirectIo, Options};
use crate::reader::Reader;
use crate::shared::Shared;
use crate::stats::{Monitor, Stats};
use crate::storage::{Disk, Storage};
use crate::tail::Phase;
use crate::{janitor, writer};

/// A durable queue of records in a directory.
///
/// Dropping it closes it, without saying whether that went well. The directory stays locked until its [`Reader`] is
/// dropped as well; appenders, subscriptions and monitors do not hold it.
pub struct Queue {
    shared: Arc<Shared>,
    _lock: Arc<dyn Any + Send + Sync>,
    reader: Option<Reader>,
    writer: Option<JoinHandle<()>>,
    janitor: Option<JoinHandle<()>>,
}

impl Queue {
    /// Opens the buffer in a directory, which is made if need be, and recovers what is in it.
    ///
    /// # Errors
    ///
    /// If the directory is in use, was written by a newer version, or cannot be read or written; if an option is out of
    /// its bounds. Never because of damage.
    #[expect(clippy::needless_pass_by_value, reason = "options are made for one opening")]
    pub fn open(dir: impl AsRef<Path>, options: Options) -> Result<(Self, RecoveryReport), OpenError> {
        let dir = dir.as_ref();
        let storage: Arc<dyn Storage> = Arc::new(Disk::new(dir.to_path_buf()));
        Self::open_on(&storage, dir, &options)
    }

    pub(crate) fn open_on(
        storage: &Arc<dyn Storage>,
        dir: &Path,
        options: &Options,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        Self::open_bounded(storage, dir, Bounds::of(options)?, options.direct_io)
    }

    /// Tests pass bounds that no options give.
    pub(crate) fn open_bounded(
        storage: &Arc<dyn Storage>,
        dir: &Path,
        bounds: Bounds,
        direct_io: DirectIo,
    ) -> Result<(Self, RecoveryReport), OpenError> {
        let Opened { shared, lock, report, next_number } = open(storage, dir, bounds, direct_io)?;
        let reader = Some(Reader::new(Arc::clone(&shared), Arc::clone(&lock)));
        let mut queue = Self { shared, _lock: lock, reader, writer: None, janitor: None };
        let shared = Arc::clone(&queue.shared);
        queue.writer = Some(spawn("buffer-writer", move || writer::run(&shared))?);
        let shared = Arc::clone(&queue.shared);
        shared.janitor.want_segment();
        queue.janitor = Some(spawn("buffer-janitor", move || janitor::run(&shared, next_number))?);
        Ok((queue, report))
    }

    /// A handle that appends.
    pub fn appender(&self) -> Appender {
        Appender::new(Arc::clone(&self.shared))
    }

    /// The reader; there is one, so the second call gives none.
    pub fn take_reader(&mut self) -> Option<Reader> {
        self.reader.take()
    }

    /// The figures of now.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }

    /// A handle that gives the figures elsewhere.
    pub fn monitor(&self) -> Monitor {
        Monitor { shared: Arc::clone(&self.shared) }
    }

    /// The name of this buffer, made with its directory.
    pub fn instance(&self) -> InstanceId {
        self.shared.files.instance
    }

    /// Everything below it is done, as far as this process knows; what is durable may lag behind a little.
    pub fn floor(&self) -> RecordId {
        self.shared.floor()
    }

    /// Writes what is pending and the floor, and stops the threads. Appenders are told `Closed` from then on.
    ///
    /// # Errors
    ///
    /// If a write failed, now or earlier. Whatever was reported as durable is so all the same.
    pub fn close(mut self) -> Result<(), CloseError> {
        self.stop()
    }

    fn stop(&mut self) -> Result<(), CloseError> {
        {
            let mut tail = lock(&self.shared.tail);
            if tail.phase == Phase::Open {
                tail.phase = Phase::Closing;
            }
        }
        self.shared.writer_work.notify_one();
        let mut stopped = self.writer.take().is_some_and(|writer| writer.join().is_ok());
        self.shared.janitor.stop();
        stopped |= self.janitor.take().is_some_and(|janitor| janitor.join().is_ok());
        let floor = if stopped { self.shared.settle() } else { Ok(()) };
        match self.shared.durable.failed() {
            Some(failed) => Err(failed.clone().into()),
            None => floor.map_err(CloseError::Floor),
        }
    }
}

impl Drop for Queue {
    fn drop(&mut self) {
        if self.writer.is_none() && self.janitor.is_none() {
            return;
        }
        if let Err(error) = self.stop() {
            tracing::error!(%error, "the buffer did not close well");
        }
    }
}

fn spawn(name: &str, run: impl FnOnce() + Send + 'static) -> Result<JoinHandle<()>, OpenError> {
    let failed = |source: io::Error| OpenError::Io { action: "start thread", file: name.to_string(), source };
    Builder::new().name(name.to_string()).spawn(run).map_err(failed)
}
