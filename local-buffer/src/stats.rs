//! Figures for whoever watches.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::error::{AppendError, FullCause};
use crate::lock::lock;
use crate::shared::Shared;
use crate::storage::Access;

/// A look at a buffer. Totals count from its opening.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// Everything below this id is done.
    pub floor: u64,
    /// Everything below this id is durable.
    pub durable_end: u64,
    /// Id of the next record.
    pub next_id: u64,
    /// Records (holes counted) from the floor to the durable end.
    pub backlog_records: u64,
    /// Append time of the oldest record that is not acknowledged, milliseconds since 1970; a little
    /// earlier if the reader has not come to it yet.
    pub oldest_append_ms: Option<u64>,
    /// Records taken.
    pub appended_records: u64,
    /// Their bytes.
    pub appended_bytes: u64,
    /// Memory of records that were taken and are not durable yet, bytes.
    pub pending_bytes: u64,
    /// Groups written.
    pub groups: u64,
    /// Bytes written in groups, padding and headers counted.
    pub group_bytes: u64,
    /// Time the writer spent in writes and syncs of groups, nanoseconds.
    pub write_ns: u64,
    /// Appends refused because of the bound or the disk.
    pub refused_full: u64,
    /// Appends refused because the disk is behind.
    pub refused_busy: u64,
    /// Whether, and why, the next segment cannot be made. Appends still work while the current one has room.
    pub full: Option<FullCause>,
    /// A write failed: nothing is taken until the buffer is opened again.
    pub failed: bool,
    /// Segments with records.
    pub segments_live: u64,
    /// Segments ready to be written.
    pub segments_ready: u64,
    /// Bytes of all segment files.
    pub segments_bytes: u64,
    /// Their bound.
    pub bytes_max: u64,
    /// Records read.
    pub read_records: u64,
    /// Those of them that came from memory.
    pub read_memory_records: u64,
    /// Pieces of damage set aside.
    pub damaged_pieces: u64,
    /// Their bytes.
    pub damaged_bytes: u64,
    /// Records set aside by the reader's owner.
    pub quarantined_records: u64,
    /// Bytes of all files in the quarantine.
    pub quarantine_bytes: u64,
    /// Whether records are written past the page cache.
    pub direct_io: bool,
}

/// Looks at a buffer from elsewhere. Cheap to clone; does not keep the directory locked.
#[derive(Clone)]
pub struct Monitor {
    pub(crate) shared: Arc<Shared>,
}

impl Monitor {
    /// The figures of now.
    pub fn stats(&self) -> Stats {
        self.shared.stats()
    }
}

/// Totals that several threads count.
#[derive(Default)]
pub(crate) struct Counters {
    pub(crate) groups: AtomicU64,
    pub(crate) group_bytes: AtomicU64,
    pub(crate) write_ns: AtomicU64,
    pub(crate) refused_full: AtomicU64,
    pub(crate) refused_busy: AtomicU64,
    pub(crate) read_records: AtomicU64,
    pub(crate) read_memory_records: AtomicU64,
    pub(crate) damaged_pieces: AtomicU64,
    pub(crate) damaged_bytes: AtomicU64,
    pub(crate) quarantined_records: AtomicU64,
}

impl Counters {
    pub(crate) fn refused(&self, error: &AppendError) {
        match error {
            AppendError::Full { .. } => add(&self.refused_full, 1),
            AppendError::Busy => add(&self.refused_busy, 1),
            AppendError::TooLarge { .. } | AppendError::SyncFailed(_) | AppendError::Closed => {}
        }
    }
}

pub(crate) fn add(counter: &AtomicU64, count: u64) {
    counter.fetch_add(count, Ordering::Relaxed);
}

impl Shared {
    pub(crate) fn stats(&self) -> Stats {
        let get = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let counters = &self.counters;
        let mut stats = Stats {
            floor: self.floor().get(),
            durable_end: self.durable.get().get(),
            failed: self.durable.failed().is_some(),
            groups: get(&counters.groups),
            group_bytes: get(&counters.group_bytes),
            write_ns: get(&counters.write_ns),
            refused_full: get(&counters.refused_full),
            refused_busy: get(&counters.refused_busy),
            segments_bytes: get(&self.segments_bytes),
            bytes_max: self.bounds.bytes_max,
            read_records: get(&counters.read_records),
            read_memory_records: get(&counters.read_memory_records),
            damaged_pieces: get(&counters.damaged_pieces),
            damaged_bytes: get(&counters.damaged_bytes),
            quarantined_records: get(&counters.quarantined_records),
            quarantine_bytes: self.quarantine.bytes(),
            direct_io: self.files.access == Access::Direct,
            ..Stats::default()
        };
        stats.backlog_records = stats.durable_end.saturating_sub(stats.floor);
        if stats.backlog_records > 0 {
            stats.oldest_append_ms = Some(get(&self.oldest_ms)).filter(|ms| *ms > 0);
        }
        stats.segments_live = lock(&self.live).segments.len() as u64;
        let tail = lock(&self.tail);
        stats.next_id = tail.next().get();
        stats.appended_records = tail.appended_records;
        stats.appended_bytes = tail.appended_bytes;
        stats.pending_bytes = tail.pending_bytes();
        stats.segments_ready = tail.ready.len() as u64;
        stats.full = tail.full;
        stats
    }
}
