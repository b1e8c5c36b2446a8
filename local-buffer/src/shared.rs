//! What the threads of a buffer share.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::durable::DurableEnd;
use crate::floor::FloorFile;
use crate::id::RecordId;
use crate::janitor::JanitorSignal;
use crate::lock::lock;
use crate::options::Bounds;
use crate::quarantine::Quarantine;
use crate::segment::{Files, Segment};
use crate::stats::Counters;
use crate::sync::{Condvar, Mutex};
use crate::tail::Tail;

/// What the threads of a buffer share. Locks are taken one at a time, but for `floor_file`, under which `live` and then
/// `tail` may be taken.
pub(crate) struct Shared {
    pub(crate) bounds: Bounds,
    pub(crate) files: Files,
    pub(crate) durable: Arc<DurableEnd>,
    pub(crate) tail: Mutex<Tail>,
    /// Wakes the writer.
    pub(crate) writer_work: Condvar,
    pub(crate) live: Mutex<Live>,
    pub(crate) janitor: JanitorSignal,
    pub(crate) floor: AtomicU64,
    pub(crate) floor_file: Mutex<FloorFile>,
    pub(crate) quarantine: Quarantine,
    pub(crate) counters: Counters,
    /// Bytes of all segment files.
    pub(crate) segments_bytes: AtomicU64,
    /// Time of the oldest record that is not acknowledged, milliseconds since 1970; 0 when there is none.
    pub(crate) oldest_ms: AtomicU64,
}

/// Segments with records, in the order they were written.
#[derive(Default)]
pub(crate) struct Live {
    pub(crate) segments: VecDeque<LiveSegment>,
    /// Whether the last one is still written to; after an opening it is not.
    pub(crate) last_is_open: bool,
}

/// A segment with records, from the reader's side.
pub(crate) struct LiveSegment {
    pub(crate) segment: Arc<Segment>,
    /// Set when the reader has left it: all its records have lower ids.
    pub(crate) read_end: Option<RecordId>,
    /// It holds damage that could not be set aside, and is not recycled while this process runs.
    pub(crate) held: bool,
}

impl Live {
    pub(crate) fn push(&mut self, segment: Arc<Segment>) {
        self.segments.push_back(LiveSegment { segment, read_end: None, held: false });
    }

    /// Notes that the reader has passed all segments of a generation below `until`, with no record below `end` left;
    /// says whether that is news.
    pub(crate) fn passed(&mut self, until: u64, end: RecordId) -> bool {
        let mut news = false;
        for live in self.segments.iter_mut().take_while(|live| live.segment.generation < until) {
            news |= live.read_end.is_none();
            live.read_end.get_or_insert(end);
        }
        news
    }

    /// The first segment of a higher generation.
    pub(crate) fn after(&self, generation: u64) -> Option<Arc<Segment>> {
        let next = self.segments.iter().find(|live| live.segment.generation > generation)?;
        Some(Arc::clone(&next.segment))
    }

    pub(crate) fn find(&mut self, generation: u64) -> Option<&mut LiveSegment> {
        self.segments.iter_mut().find(|live| live.segment.generation == generation)
    }
}

impl Shared {
    pub(crate) fn floor(&self) -> RecordId {
        RecordId::from_u64(self.floor.load(Ordering::SeqCst))
    }

    /// Makes the floor durable, then marks the segments free that lie wholly below it, then gives them out again.
    pub(crate) fn settle(&self) -> std::io::Result<()> {
        let mut file = lock(&self.floor_file);
        let floor = self.floor();
        if floor > file.written() {
            file.write(floor)?;
        }
        let mut done = Vec::new();
        {
            let segments = &mut lock(&self.live).segments;
            segments.retain(|live| {
                let free = live.read_end.is_some_and(|end| end <= floor) && !live.held;
                if free {
                    done.push(Arc::clone(&live.segment));
                }
                !free
            });
        }
        // One that could not be marked stays out of use until the next opening; the others are not held up by it.
        done.iter().map(|segment| self.recycle(segment, floor)).fold(Ok(()), Result::and)
    }

    fn recycle(&self, segment: &Segment, floor: RecordId) -> std::io::Result<()> {
        let vacant = segment.free(&self.files, floor)?;
        if vacant.file.writes_through() {
            // What a reader from disk has left in the page cache would have to be thrown out by the writer, block by block.
            let _ = vacant.file.forget_cached();
        }
        if vacant.bytes == self.bounds.segment_bytes {
            let mut tail = lock(&self.tail);
            tail.full = None;
            tail.ready.push_back(vacant);
            return Ok(());
        }
        // A segment of another size is of no more use.
        self.files.storage.remove(&crate::segment::path(vacant.number))?;
        self.files.storage.sync_dir(crate::segment::SEGMENTS_DIR)?;
        self.segments_bytes.fetch_sub(vacant.bytes, Ordering::Relaxed);
        self.janitor.want_segment();
        Ok(())
    }
}
