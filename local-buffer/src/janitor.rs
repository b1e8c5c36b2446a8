//! The janitor thread: what must be done, but not on the path of an append. It makes segments ahead of need and makes
//! the floor durable now and then. With nothing to do it sleeps without a timer.

use std::io;
use std::sync::PoisonError;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use crate::error::FullCause;
use crate::lock::lock;
use crate::segment::Vacant;
use crate::shared::Shared;
use crate::stats::add;
use crate::sync::{Condvar, Mutex};

/// The floor is written at most this often. A crash in between costs reading some records twice.
const FLOOR_INTERVAL: Duration = Duration::from_millis(100);
/// How soon a floor that could not be written is tried again.
const FLOOR_RETRY: Duration = Duration::from_secs(1);
/// How soon a full disk is tried again.
const SEGMENT_RETRY: Duration = Duration::from_millis(250);
/// Segments kept ready beyond the one in use.
const SPARE_SEGMENTS: usize = 1;

/// What the janitor is asked to do.
#[derive(Default)]
pub(crate) struct JanitorSignal {
    state: Mutex<Wanted>,
    work: Condvar,
}

#[derive(Default)]
struct Wanted {
    floor: bool,
    segment: bool,
    stop: bool,
}

impl JanitorSignal {
    pub(crate) fn want_floor(&self) {
        let mut wanted = lock(&self.state);
        if !std::mem::replace(&mut wanted.floor, true) {
            self.work.notify_one();
        }
    }

    pub(crate) fn want_segment(&self) {
        lock(&self.state).segment = true;
        self.work.notify_one();
    }

    pub(crate) fn stop(&self) {
        lock(&self.state).stop = true;
        self.work.notify_one();
    }

    /// Sleeps until something is due; `None` when it is time to end.
    fn next(&self, floor_due: Instant, segment_due: Instant) -> Option<(bool, bool)> {
        let mut wanted = lock(&self.state);
        loop {
            if wanted.stop {
                return None;
            }
            let now = Instant::now();
            let floor = wanted.floor && floor_due <= now;
            let segment = wanted.segment && segment_due <= now;
            if floor || segment {
                wanted.floor &= !floor;
                wanted.segment &= !segment;
                return Some((floor, segment));
            }
            let due = [(wanted.floor, floor_due), (wanted.segment, segment_due)];
            let due = due.into_iter().filter(|(wanted, _)| *wanted).map(|(_, due)| due).min();
            wanted = match due {
                None => self.work.wait(wanted).unwrap_or_else(PoisonError::into_inner),
                Some(due) => self.work.wait_timeout(wanted, due - now).unwrap_or_else(PoisonError::into_inner).0,
            };
        }
    }
}

/// Works until it is stopped. `next_number` names the next segment file.
pub(crate) fn run(shared: &Shared, mut next_number: u64) {
    let (mut floor_due, mut segment_due) = (Instant::now(), Instant::now());
    while let Some((floor, segment)) = shared.janitor.next(floor_due, segment_due) {
        if floor {
            let settled = shared.settle();
            floor_due = Instant::now() + if settled.is_ok() { FLOOR_INTERVAL } else { FLOOR_RETRY };
            if let Err(error) = settled {
                tracing::warn!(%error, "the floor could not be written");
                shared.janitor.want_floor();
            }
        }
        if segment && !make_spare(shared, &mut next_number) {
            segment_due = Instant::now() + SEGMENT_RETRY;
            shared.janitor.want_segment();
        }
    }
}

/// Makes a segment if one is wanted and the bound allows it. `false`: try again later.
pub(crate) fn make_spare(shared: &Shared, next_number: &mut u64) -> bool {
    let bytes = shared.bounds.segment_bytes;
    loop {
        {
            let mut tail = lock(&shared.tail);
            if tail.ready.len() >= SPARE_SEGMENTS {
                tail.full = None;
                return true;
            }
            if shared.segments_bytes.load(Ordering::Relaxed) + bytes > shared.bounds.bytes_max {
                // The next segment that the reader frees is the next one to write.
                tail.full = Some(FullCause::Bound);
                return true;
            }
        }
        match Vacant::make(&shared.files, *next_number, bytes) {
            Ok(vacant) => {
                *next_number += 1;
                add(&shared.segments_bytes, bytes);
                let mut tail = lock(&shared.tail);
                if tail.full.take().is_some() {
                    tracing::info!("the buffer has room again");
                }
                tail.ready.push_back(vacant);
            }
            Err(error) => {
                note_no_room(shared, &error);
                return false;
            }
        }
    }
}

fn note_no_room(shared: &Shared, error: &io::Error) {
    let mut tail = lock(&shared.tail);
    if tail.full.replace(FullCause::Disk) != Some(FullCause::Disk) {
        tracing::warn!(%error, "no segment can be made; the buffer goes on in the one it has");
    }
}
