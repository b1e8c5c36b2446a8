//! The writer thread: group commit.
//!
//! While one group is on its way to the disk the next one fills; when the write is done it goes at once. So the slower
//! the disk the larger the groups, and nothing waits for a timer. One write is in flight at a time, which makes the
//! durable end contiguous without further bookkeeping.
//!
//! On a slow disk a write that has just begun is a long wait for whoever comes too late for it, and those who were told
//! by the write before mostly come again at once. There the writer waits for them, as long as they come and for no more
//! than a quarter of the time that the last write took: all of 2,000 appenders then share one sync instead of taking
//! turns in two halves (row `buffer_slow_disk`). A group that is worth a write by its size does not wait: a disk that takes
//! long because it is given much is not slow.

use std::io::{self, IoSlice};
use std::sync::atomic::Ordering;
use std::sync::{Arc, PoisonError};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use crate::group::Group;
use crate::lock::lock;
use crate::memory::CHUNK_BYTES;
use crate::options::{GROUP_BYTES_MAX, SyncPolicy};
use crate::segment::{Segment, write_header};
use crate::shared::Shared;
use crate::stats::add;
use crate::storage::write_durable;
use crate::tail::{Phase, Sealed};
use crate::thread;

const GROUP_CHUNKS_MAX: usize = GROUP_BYTES_MAX.div_ceil(CHUNK_BYTES);
/// A write that took less is not worth waiting for company. To loom no time passes.
const SLOW_WRITE: Duration = if cfg!(loom) { Duration::MAX } else { Duration::from_millis(2) };
/// How often the writer looks whether more has come, and the share of the last write's time between two looks.
const LINGER_STEPS: u32 = 8;
const LINGER_STEP_SHARE: u32 = 32;
/// Bound of one such step, so that a disk that hung once does not slow down what comes after.
const LINGER_STEP_MAX: Duration = Duration::from_millis(5);

/// Writes groups until the queue closes or a write fails.
pub(crate) fn run(shared: &Shared) {
    let guard = PanicGuard(shared);
    thread::yield_to_appenders();
    let mut current: Option<Arc<Segment>> = None;
    let mut last_write = Duration::ZERO;
    while let Some(sealed) = next_group(shared, last_write) {
        match write(shared, sealed, &mut current) {
            Ok(took) => last_write = took,
            Err(error) => {
                shared.durable.fail(&error);
                break;
            }
        }
    }
    lock(&shared.tail).phase = Phase::Ended;
    std::mem::forget(guard);
}

fn next_group(shared: &Shared, last_write: Duration) -> Option<Sealed> {
    let mut tail = lock(&shared.tail);
    loop {
        if last_write >= SLOW_WRITE && tail.may_grow() {
            drop(tail);
            linger(shared, last_write);
            tail = lock(&shared.tail);
        }
        if let Some(sealed) = tail.take_group() {
            return Some(sealed);
        }
        if tail.phase != Phase::Open {
            return None;
        }
        tail.writer_parked = true;
        tail = shared.writer_work.wait(tail).unwrap_or_else(PoisonError::into_inner);
    }
}

/// Waits while the group grows.
fn linger(shared: &Shared, last_write: Duration) {
    let step = (last_write / LINGER_STEP_SHARE).min(LINGER_STEP_MAX);
    let mut seen = None;
    for _ in 0..LINGER_STEPS {
        {
            let tail = lock(&shared.tail);
            if !tail.may_grow() || seen == Some(tail.appended_records) {
                return;
            }
            seen = Some(tail.appended_records);
        }
        std::thread::sleep(step);
    }
}

/// Makes a group durable; gives the time that took.
pub(crate) fn write(shared: &Shared, sealed: Sealed, current: &mut Option<Arc<Segment>>) -> io::Result<Duration> {
    let Sealed { mut group, segment, activates } = sealed;
    let started = Instant::now();
    if let Some(header) = activates {
        if let (Some(before), SyncPolicy::Never) = (&*current, shared.bounds.sync) {
            // Only the last segment is ever in doubt at an opening, whatever the policy.
            before.file.sync()?;
        }
        write_header(&*segment.file, &header)?;
        let mut live = lock(&shared.live);
        live.push(Arc::clone(&segment));
        live.last_is_open = true;
    }
    group.finish(shared.files.seed, now_ms());
    let durable = shared.bounds.sync != SyncPolicy::Never;
    write_group(&segment, &group, durable)?;
    segment.set_durable_end(group.end_offset());
    *current = Some(segment);
    let took = started.elapsed();
    add(&shared.counters.write_ns, took.as_nanos() as u64);
    add(&shared.counters.groups, 1);
    add(&shared.counters.group_bytes, group.padded_bytes() as u64);
    let end = group.end();
    let _ = shared.oldest_ms.compare_exchange(0, group.written_ms(), Ordering::Relaxed, Ordering::Relaxed);
    // The memory is in its place before the reader hears of it, or it would read from disk what memory has.
    lock(&shared.tail).keep(group);
    shared.durable.advance(end);
    Ok(took)
}

/// Writes a finished group to its place in one call.
pub(crate) fn write_group(segment: &Segment, group: &Group, durable: bool) -> io::Result<()> {
    let mut pieces = [IoSlice::new(&[]); GROUP_CHUNKS_MAX];
    let mut left = group.padded_bytes();
    let mut count = 0;
    for (piece, chunk) in pieces.iter_mut().zip(group.chunks()) {
        let bytes = left.min(CHUNK_BYTES);
        *piece = IoSlice::new(&chunk.bytes()[..bytes]);
        left -= bytes;
        count += 1;
    }
    let (pieces, offset) = (&pieces[..count], group.place().offset);
    if durable { write_durable(&*segment.file, pieces, offset) } else { segment.file.write_at(pieces, offset) }
}

pub(crate) fn now_ms() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |since| since.as_millis() as u64)
}

/// A writer that panics must not leave others waiting for it.
struct PanicGuard<'a>(&'a Shared);

impl Drop for PanicGuard<'_> {
    fn drop(&mut self) {
        self.0.durable.fail(&io::Error::other("the writer thread panicked"));
        lock(&self.0.tail).phase = Phase::Ended;
    }
}

#[cfg(test)]
mod tests {
    use crate::driven::{Driven, small_bounds};
    use crate::lock::lock;
    use crate::options::Bounds;
    use crate::sim::SimDisk;

    #[test]
    fn a_small_group_waits_for_company_and_one_that_is_worth_a_write_does_not() {
        let bounds = Bounds { group_bytes_max: 1 << 20, ..small_bounds(512, 4) };
        let (mut driven, appender, ..) = Driven::open(&SimDisk::new(true).storage(), bounds).unwrap();
        let may_grow = |driven: &Driven| lock(&driven.shared.tail).may_grow();
        assert!(!may_grow(&driven), "there is nothing to wait with");
        for _ in 0..3 {
            let _ = appender.append(&vec![7; 40_000]).unwrap();
            assert!(may_grow(&driven));
        }
        let _ = appender.append(&vec![7; 40_000]).unwrap();
        assert!(!may_grow(&driven), "160,000 bytes are enough");
        assert!(driven.write_group());
        let _ = appender.append(b"x").unwrap();
        assert!(may_grow(&driven), "the next group begins small");
    }
}
