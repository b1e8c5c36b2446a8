//! One index against its changelog, a run at a time: what a run holds must be what its part of the changelog says.

use std::ops::Range;

use dedup::{Index, IndexError};
use service::say;
use wire::changelog::Batch;
use wire::{Bucket, Digest};

/// Differences printed for one lane where not all are asked for; more are only counted.
const PRINTED_MAX: u64 = 20;

/// An identity as the changelog has it.
#[derive(Debug, Clone, Copy)]
struct Known {
    digest: Digest,
    bucket: Bucket,
    offset: u64,
}

/// A comparison on its way. It holds the entries of one run.
pub(super) struct Audit<'a> {
    index: &'a Index,
    lane: u32,
    /// First offset that the changelog still has.
    low: u64,
    /// Older buckets are not missed where their run was dropped.
    oldest: Bucket,
    runs: Vec<Range<u64>>,
    /// The run that is being compared.
    place: usize,
    known: Vec<Known>,
    printed_max: u64,
    /// Identities of the changelog compared.
    pub(super) compared: u64,
    /// Differences found.
    pub(super) differences: u64,
}

impl<'a> Audit<'a> {
    /// Of the index of `lane`, whose changelog begins at `low`, at a clock at which `oldest` is kept. Prints `all`
    /// differences or the first of them.
    pub(super) fn new(index: &'a Index, lane: u32, low: u64, oldest: Bucket, all: bool) -> Self {
        let (runs, known, printed_max) = (index.runs(), Vec::new(), if all { u64::MAX } else { PRINTED_MAX });
        Self { index, lane, low, oldest, runs, place: 0, known, printed_max, compared: 0, differences: 0 }
    }

    /// Takes the changelog's next batch.
    pub(super) fn enter(&mut self, offset: u64, batch: &Batch<'_>) -> Result<(), IndexError> {
        while self.runs.get(self.place).is_some_and(|run| offset >= run.end) {
            self.compare()?;
        }
        let Some(run) = self.runs.get(self.place) else { return Ok(()) };
        let is_dropped = offset < run.start;
        for (digest, bucket) in batch.entries.iter() {
            self.compared += 1;
            if !is_dropped {
                self.known.push(Known { digest, bucket, offset });
            } else if bucket >= self.oldest {
                self.missing(&Known { digest, bucket, offset });
            }
        }
        Ok(())
    }

    /// The changelog has no more.
    pub(super) fn finish(&mut self) -> Result<(), IndexError> {
        while self.place < self.runs.len() {
            self.compare()?;
        }
        Ok(())
    }

    /// Compares the run at hand, and turns to the next.
    fn compare(&mut self) -> Result<(), IndexError> {
        let mut known = std::mem::take(&mut self.known);
        // Published again after it had expired: the newest counts.
        known.sort_unstable_by_key(|known| (known.digest.0, std::cmp::Reverse(known.bucket)));
        known.dedup_by_key(|known| Index::kept_of(known.digest));
        // A part of it may be deleted by now.
        let is_whole = self.runs[self.place].start >= self.low;
        let index = self.index;
        let mut rest = known.iter().peekable();
        index.read_run(self.place, |found, bucket| {
            while let Some(missing) = rest.next_if(|known| Index::kept_of(known.digest).0 < found.0) {
                self.missing(missing);
            }
            match rest.next_if(|known| Index::kept_of(known.digest) == found) {
                Some(known) if known.bucket == bucket => {}
                Some(known) => {
                    self.differ(&known.digest, format_args!("bucket {}, is in bucket {}", known.bucket.0, bucket.0));
                }
                None if is_whole => self.differ(&found, format_args!("bucket {}, was never published", bucket.0)),
                None => {}
            }
        })?;
        rest.for_each(|missing| self.missing(missing));
        known.clear();
        self.known = known;
        self.place += 1;
        Ok(())
    }

    fn missing(&mut self, known: &Known) {
        let Known { digest, bucket, offset } = known;
        self.differ(digest, format_args!("offset {offset}, bucket {}, is not in the index", bucket.0));
    }

    fn differ(&mut self, digest: &Digest, what: std::fmt::Arguments<'_>) {
        self.differences += 1;
        // What cannot be written here cannot be at the end either, where the sum is said, and the command fails then.
        if self.differences <= self.printed_max {
            let _ = say(format_args!("lane {}: {:032x}, {what}", self.lane, digest.0));
        } else if self.differences == self.printed_max + 1 {
            let _ = say(format_args!("lane {}: and more; --all prints each", self.lane));
        }
    }
}
