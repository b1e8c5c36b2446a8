//! A buffer whose threads are steps, for tests: what the writer and the janitor do, done when the test says so.
//!
//! It is the code that the threads run, without the loops in which they wait, so that the same steps give the same calls
//! to the disk in the same order.

use std::io;
use std::path::Path;
use std::sync::Arc;

use crate::append::Appender;
use crate::error::OpenError;
use crate::format::{BLOCK_BYTES, payload_bytes_max};
use crate::lock::lock;
use crate::memory::CHUNK_BYTES;
use crate::open::{Opened, RecoveryReport, open};
use crate::options::{Bounds, DirectIo, SyncPolicy};
use crate::reader::Reader;
use crate::segment::Segment;
use crate::shared::Shared;
use crate::storage::Storage;
use crate::tail::Phase;
use crate::{janitor, writer};

/// Bounds far below those that options allow: segments of so many blocks, two of them headers, so many of them.
pub(crate) fn small_bounds(segment_blocks: usize, segments: u64) -> Bounds {
    let segment_bytes = (segment_blocks * BLOCK_BYTES) as u64;
    // Smaller than a segment, so that recovery has the last group to write again, and not always all that there is.
    let group_blocks = ((segment_blocks - 2) / 2).clamp(2, CHUNK_BYTES / BLOCK_BYTES);
    Bounds {
        segment_bytes,
        bytes_max: segments * segment_bytes,
        group_bytes_max: group_blocks * BLOCK_BYTES,
        record_bytes_max: payload_bytes_max(group_blocks),
        pending_chunks_max: 4,
        recent_chunks: 2,
        sync: SyncPolicy::Group,
    }
}

/// An open buffer without threads.
pub(crate) struct Driven {
    pub(crate) shared: Arc<Shared>,
    current: Option<Arc<Segment>>,
    next_number: u64,
}

impl Driven {
    pub(crate) fn open(
        storage: &Arc<dyn Storage>,
        bounds: Bounds,
    ) -> Result<(Self, Appender, Reader, RecoveryReport), OpenError> {
        let Opened { shared, lock, report, next_number } = open(storage, Path::new("sim"), bounds, DirectIo::Auto)?;
        let (appender, reader) = (Appender::new(Arc::clone(&shared)), Reader::new(Arc::clone(&shared), lock));
        Ok((Self { shared, current: None, next_number }, appender, reader, report))
    }

    /// The writer's work on one group. `false`: there is none, or it failed.
    pub(crate) fn write_group(&mut self) -> bool {
        let sealed = {
            let mut tail = lock(&self.shared.tail);
            if tail.phase == Phase::Ended { None } else { tail.take_group() }
        };
        let Some(sealed) = sealed else { return false };
        let written = writer::write(&self.shared, sealed, &mut self.current);
        if let Err(error) = &written {
            self.shared.durable.fail(error);
            lock(&self.shared.tail).phase = Phase::Ended;
        }
        written.is_ok()
    }

    /// The janitor's work on the floor.
    pub(crate) fn settle(&self) -> io::Result<()> {
        self.shared.settle()
    }

    /// The janitor's work on segments.
    pub(crate) fn make_spare(&mut self) -> bool {
        janitor::make_spare(&self.shared, &mut self.next_number)
    }

    /// What closing does.
    pub(crate) fn close(mut self) -> io::Result<()> {
        while self.write_group() {}
        lock(&self.shared.tail).phase = Phase::Ended;
        self.settle()
    }
}
