//! Appending, and the proof that it is durable.

use std::sync::Arc;

use crate::durable::Subscription;
use crate::error::{AppendError, SyncFailed};
use crate::id::RecordId;
use crate::lock::lock;
use crate::memory::CHUNK_BYTES;
use crate::shared::Shared;

/// Checksums of this many records of a batch are computed before the lock is taken.
const SUMS_AHEAD: usize = 128;

/// Appends records. Cheap to clone, one for each thread or one for all.
#[derive(Clone)]
pub struct Appender {
    shared: Arc<Shared>,
}

impl Appender {
    pub(crate) fn new(shared: Arc<Shared>) -> Self {
        Self { shared }
    }

    /// Takes a copy of a record; it is durable when the [`Pending`] says so. Never blocks on the disk, and allocates
    /// nothing.
    ///
    /// # Errors
    ///
    /// If it was not taken: sorted by what to do about it in [`AppendError`].
    pub fn append(&self, record: &[u8]) -> Result<Pending, AppendError> {
        let sums = [crc32c::crc32c(record)];
        self.append_sized(std::iter::once(record), &sums)
    }

    /// Takes a copy of all records, in this order and without any other between them, or of none of them.
    ///
    /// The `Pending` is that of the last one: when it is durable all are. A crash before that may keep some of them.
    /// No records are durable at once.
    ///
    /// # Errors
    ///
    /// If none was taken: [`AppendError`], as for one record.
    pub fn append_batch<'a>(&self, records: impl Iterator<Item = &'a [u8]> + Clone) -> Result<Pending, AppendError> {
        let mut sums = [0; SUMS_AHEAD];
        let mut count = 0;
        for (sum, record) in sums.iter_mut().zip(records.clone()) {
            *sum = crc32c::crc32c(record);
            count += 1;
        }
        if count == 0 {
            let end = self.shared.durable.get();
            return Ok(Pending { first: end, end });
        }
        self.append_sized(records, &sums[..count])
    }

    /// A view of the durable end; one for each thread that serves requests.
    pub fn subscribe(&self) -> Subscription {
        Subscription::new(Arc::clone(&self.shared.durable))
    }

    /// The largest record that is taken, bytes.
    pub fn record_bytes_max(&self) -> usize {
        self.shared.bounds.record_bytes_max
    }

    /// The largest batch that is taken, bytes on disk: each record takes 20 bytes besides its own, and each 4,064 bytes
    /// of that take another 32.
    pub fn batch_bytes_max(&self) -> usize {
        self.shared.bounds.group_bytes_max
    }

    /// Memory for what was appended and is not yet on disk, bytes; beyond it appends are refused.
    pub fn pending_bytes_max(&self) -> usize {
        self.shared.bounds.pending_chunks_max * CHUNK_BYTES
    }

    fn append_sized<'a>(
        &self,
        records: impl Iterator<Item = &'a [u8]> + Clone,
        sums: &[u32],
    ) -> Result<Pending, AppendError> {
        let bytes_max = self.shared.bounds.record_bytes_max;
        if let Some(record) = records.clone().find(|record| record.len() > bytes_max) {
            return Err(AppendError::TooLarge { bytes: record.len() as u64, bytes_max: bytes_max as u64 });
        }
        if let Some(failed) = self.shared.durable.failed() {
            return Err(AppendError::SyncFailed(failed.clone()));
        }
        let taken = lock(&self.shared.tail).append(&self.shared.files, records, sums);
        let taken = taken.inspect_err(|error| self.shared.counters.refused(error))?;
        if taken.wake_writer {
            self.shared.writer_work.notify_one();
        }
        if taken.wants_segment {
            self.shared.janitor.want_segment();
        }
        Ok(Pending { first: taken.first, end: taken.end })
    }

    fn wait(&self, pending: &Pending) -> Result<Durable, SyncFailed> {
        self.shared.durable.wait(pending)
    }
}

/// Records that were taken and may not be durable yet.
#[must_use = "a record is not durable before its Pending says so"]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Pending {
    first: RecordId,
    end: RecordId,
}

impl Pending {
    /// Id of the first record.
    pub fn first(&self) -> RecordId {
        self.first
    }

    /// The id after the last record.
    pub fn end(&self) -> RecordId {
        self.end
    }

    /// Blocks the thread until the records are durable, or will never be known to be.
    ///
    /// # Errors
    ///
    /// If a write failed before they were durable.
    pub fn wait(self, appender: &Appender) -> Result<Durable, SyncFailed> {
        appender.wait(&self)
    }
}

/// Proof that records are as durable as the [`crate::SyncPolicy`] makes them. Only this crate can make one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Durable {
    end: RecordId,
}

impl Durable {
    pub(crate) fn new(pending: &Pending) -> Self {
        Self { end: pending.end }
    }

    /// The id after the last record it is about.
    pub fn end(&self) -> RecordId {
        self.end
    }
}
