//! A changelog in memory and the index over it.

use std::path::Path;

use changelog::{LogId, Point};
use dedup::{Candidate, DecidedBatch, Index, IndexError, Maintenance, Options, Replay, Verdict};
use tempfile::TempDir;
use wire::changelog::{Chain, Framed, Genesis, Moved, Output, Record, checksum_of, encode_batch};
use wire::{Digest, DigestSeed, LaneCount, Window};

/// The id of every rig's log.
pub(crate) const LOG_ID: LogId = LogId(*b"the rig's log id");

/// 4 buckets of a second are promised, 1 is margin: 5 are kept beside the clock's own.
pub(crate) const KEPT: i64 = 5;

/// The records of a changelog; a record's offset is its place.
#[derive(Default)]
pub(crate) struct Log {
    records: Vec<Vec<u8>>,
}

/// An index over a log.
pub(crate) struct Rig {
    pub(crate) dir: TempDir,
    pub(crate) options: Options,
    pub(crate) log: Log,
    pub(crate) clock_ms: i64,
    partition: Option<Index>,
}

impl Log {
    /// Where the log stands after its first `records`.
    pub(crate) fn point(&self, records: u64) -> Point {
        let checksum = checksum_of(&self.records[records as usize - 1]);
        Point { next_offset: records, leader_epoch: 3, checksum }
    }

    /// Replays what follows `from` into an index, with housekeeping as it goes. Returns how many records applied.
    pub(crate) fn replay(&self, partition: &mut Index, from: u64, clock_ms: i64) -> Result<usize, IndexError> {
        let mut applied = 0;
        for offset in from..self.records.len() as u64 {
            let Framed { record: Record::Batch(batch), .. } = Framed::decode(&self.records[offset as usize]).unwrap()
            else {
                panic!("only batches are written")
            };
            applied += usize::from(partition.replay(offset, self.point(offset + 1), &batch)? == Replay::Applied);
            partition.maintain(clock_ms)?;
        }
        Ok(applied)
    }
}

pub(crate) fn genesis() -> Genesis {
    Genesis {
        lanes: LaneCount::try_new(8).unwrap(),
        seed: DigestSeed(7),
        window: Window::try_new(1000, 4, 1).unwrap(),
        created_ms: 1,
    }
}

pub(crate) fn open(dir: &Path, options: &Options) -> Result<Index, IndexError> {
    Index::open(dir, &genesis(), LOG_ID, options)
}

/// Well-spread digests with small names.
pub(crate) fn digest(name: u64) -> Digest {
    let upper = name.wrapping_add(1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    let lower = (upper ^ upper >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    Digest(u128::from(upper ^ lower >> 32) << 64 | u128::from(lower))
}

impl Rig {
    /// An empty index that seals at `open_digests_max`. The clock stands at the start of bucket 100.
    pub(crate) fn new(open_digests_max: usize) -> Self {
        Self::new_in(&std::env::temp_dir(), open_digests_max)
    }

    /// The same in a new directory below `parent`.
    pub(crate) fn new_in(parent: &Path, open_digests_max: usize) -> Self {
        let dir = TempDir::new_in(parent).unwrap();
        let options = Options { open_digests_max, unsealed_digests_max: 1 << 20, ..Options::default() };
        let partition = Some(open(dir.path(), &options).unwrap());
        Self { dir, options, log: Log::default(), clock_ms: 100_000, partition }
    }

    pub(crate) fn index(&mut self) -> &mut Index {
        self.partition.as_mut().expect("the index is open")
    }

    /// Decides events received now.
    pub(crate) fn decide(&mut self, names: &[u64]) -> (Vec<Verdict>, DecidedBatch) {
        let now = self.clock_ms;
        let candidates: Vec<_> = names.iter().map(|name| (*name, now)).collect();
        self.decide_received(&candidates)
    }

    /// Decides events received at any time.
    pub(crate) fn decide_received(&mut self, events: &[(u64, i64)]) -> (Vec<Verdict>, DecidedBatch) {
        let candidates: Vec<_> = events
            .iter()
            .map(|(name, received_at_ms)| Candidate { digest: digest(*name), received_at_ms: *received_at_ms })
            .collect();
        let mut verdicts = Vec::new();
        let clock_ms = self.clock_ms;
        let batch = self.index().decide(&candidates, clock_ms, clock_ms, &mut verdicts).unwrap();
        (verdicts, batch)
    }

    /// Writes a decided batch to the changelog, the index not told.
    pub(crate) fn write(&mut self, batch: &DecidedBatch) -> Point {
        let mut bytes = Vec::new();
        let moved = Moved { positions: &[], is_all: true };
        encode_batch(&mut bytes, (0, Chain::default()), batch.clock_ms(), moved, Output::None, batch.entries());
        self.log.records.push(bytes);
        self.log.point(self.log.records.len() as u64)
    }

    /// Writes and commits a decided batch.
    pub(crate) fn commit(&mut self, batch: DecidedBatch) {
        let point = self.write(&batch);
        self.index().commit(batch, point);
    }

    /// Decides and commits; the verdicts in short: n, d or x.
    pub(crate) fn pass(&mut self, names: &[u64]) -> String {
        let (verdicts, batch) = self.decide(names);
        self.commit(batch);
        short(&verdicts)
    }

    pub(crate) fn maintain(&mut self) -> Maintenance {
        let clock_ms = self.clock_ms;
        self.index().maintain(clock_ms).unwrap()
    }

    /// Closes the index as a kill would and opens it over the same log. Returns how many records were replayed.
    pub(crate) fn reopen(&mut self) -> usize {
        self.close();
        let mut partition = open(self.dir.path(), &self.options).unwrap();
        let from = partition.replay_from();
        if let Some(point) = from {
            assert_eq!(point, self.log.point(point.next_offset), "what is covered ends where the log has that record");
        }
        let from = from.map_or(0, |point| point.next_offset);
        let applied = self.log.replay(&mut partition, from, self.clock_ms).unwrap();
        assert_eq!(applied, self.log.records.len() - from as usize);
        self.partition = Some(partition);
        applied
    }

    pub(crate) fn close(&mut self) {
        self.partition = None;
    }

    pub(crate) fn records(&self) -> usize {
        self.log.records.len()
    }
}

pub(crate) fn short(verdicts: &[Verdict]) -> String {
    verdicts
        .iter()
        .map(|verdict| match verdict {
            Verdict::New => 'n',
            Verdict::Duplicate => 'd',
            Verdict::Expired => 'x',
        })
        .collect()
}

/// Copies a directory as it lies there: what a kill at this moment leaves.
pub(crate) fn copy_dir(from: &Path, to: &Path) {
    std::fs::create_dir_all(to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let entry = entry.unwrap();
        let target = to.join(entry.file_name());
        if entry.file_type().unwrap().is_dir() {
            copy_dir(&entry.path(), &target);
        } else {
            std::fs::copy(entry.path(), target).unwrap();
        }
    }
}
