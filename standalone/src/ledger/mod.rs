//! The ledger: the changelog of the one lane there is, in files of this directory instead of a Kafka topic.
//!
//! It holds the same records, one behind the other, in files named by the ledger offset at which they begin
//! (`<20 digits>.ledger`). An offset counts bytes since the ledger was made. Every file begins with two records that
//! stand for all before it, a genesis or checkpoint and a batch without entries, so the newest file alone says where
//! input and output were, and files whose ids have all expired can be deleted. A file gets its name after these two
//! are synced, so a file with a name is never without them.

mod file;
mod log;
#[cfg(test)]
mod tests;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use changelog::{LogId, Point};
use thiserror::Error;
use wire::changelog::{
    Batch, Chain, Checkpoint, FileRange, Genesis, Link, LogPositions, Moved, Output, Record, checksum_of, encode_batch,
    encode_checkpoint, encode_genesis,
};
use wire::window::INPUT_RETENTION;
use wire::{Bucket, DecodeError, Digest};
use xxhash_rust::xxh3::xxh3_128;

use file::{LedgerFile, file_name, offsets};

/// The only lane of the standalone form.
pub const LANE: u32 = 0;

/// Why the ledger cannot be used.
#[derive(Debug, Error)]
pub enum LedgerError {
    /// The file system refused; may pass.
    #[error("ledger {path}: {source}")]
    Io {
        /// Which file or directory.
        path: PathBuf,
        /// What it said.
        source: io::Error,
    },
    /// A record that later records prove to have been whole is damaged.
    #[error(
        "ledger file {path} is damaged at byte {byte} ({source}) though whole records follow; \
         `turnstile rebuild --from output` makes a new ledger from the output files"
    )]
    Damaged {
        /// Which file.
        path: PathBuf,
        /// Where in it.
        byte: u64,
        /// What is wrong.
        source: DecodeError,
    },
    /// A file between two others is gone or too short.
    #[error(
        "the ledger has no records from offset {from} to {to}: a file was removed or cut; \
         `turnstile rebuild --from output` makes a new ledger from the output files"
    )]
    Gap {
        /// First missing offset.
        from: u64,
        /// First offset that is there again.
        to: u64,
    },
}

/// What the newest batch says: where input and output were.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Reached {
    /// How far each input had been read.
    pub positions: Vec<LogPositions>,
    /// Where its output lies.
    pub output: FileRange,
    /// The window's clock, milliseconds since the Unix epoch.
    pub clock_ms: i64,
}

/// The ledger, open for appending.
#[derive(Debug)]
pub struct Ledger {
    dir: PathBuf,
    genesis: Genesis,
    newest: LedgerFile,
    end: Point,
    reached: Reached,
    file_bytes_max: u64,
    record: Vec<u8>,
}

impl Ledger {
    /// Opens the ledger in `dir`; makes it with `new_genesis` where there is none. A torn record at the very end is
    /// cut: its batch was never counted as done, and what it had published is adopted from the output.
    ///
    /// # Errors
    /// [`LedgerError`]; a ledger with damage inside is not opened.
    pub fn open(dir: &Path, file_bytes_max: u64, new_genesis: &Genesis) -> Result<Self, LedgerError> {
        fs::create_dir_all(dir).map_err(|source| LedgerError::Io { path: dir.to_owned(), source })?;
        let mut newest = if let Some(&base) = offsets(dir)?.last() {
            LedgerFile::open(dir, base)?
        } else {
            let mut head = Vec::new();
            encode_genesis(&mut head, LANE, Chain::default(), new_genesis);
            // What the buffer holds may have come in before the ledger was made.
            let clock_ms = new_genesis.created_ms.saturating_sub(INPUT_RETENTION.as_millis() as i64);
            LedgerFile::create(dir, 0, &with_reached(head, 0, &Reached { clock_ms, ..Reached::default() }).0)?
        };
        let mut genesis = None;
        let mut reached = Reached::default();
        let mut checksum = 0;
        let bytes = newest.read_cutting_torn_tail()?;
        for (_, encoded, framed) in file::records(&bytes, &newest.path) {
            checksum = checksum_of(encoded);
            match framed?.record {
                Record::Genesis(found) => genesis = Some(found),
                Record::Checkpoint(found) => genesis = Some(found.genesis),
                Record::Batch(batch) => reached = reached_by(&batch),
                // Only a topic is made again in its place.
                Record::Mark(_) => {}
            }
        }
        let genesis = genesis.ok_or_else(|| LedgerError::Damaged {
            path: newest.path.clone(),
            byte: 0,
            source: DecodeError::Short,
        })?;
        let end = point(newest.base + newest.length, checksum);
        Ok(Self { dir: dir.to_owned(), genesis, newest, end, reached, file_bytes_max, record: Vec::new() })
    }

    /// What never changes: seed and window.
    pub fn genesis(&self) -> &Genesis {
        &self.genesis
    }

    /// Names this ledger, so that an index made from another one is known as such.
    pub fn id(&self) -> LogId {
        let mut bytes = Vec::new();
        encode_genesis(&mut bytes, LANE, Chain::default(), &self.genesis);
        LogId(xxh3_128(&bytes).to_le_bytes())
    }

    /// What the newest batch says.
    pub fn reached(&self) -> &Reached {
        &self.reached
    }

    /// Where the next record will begin.
    pub fn end(&self) -> Point {
        self.end
    }

    /// Lowest offset that is still kept.
    ///
    /// # Errors
    /// [`LedgerError::Io`].
    pub fn start(&self) -> Result<u64, LedgerError> {
        Ok(offsets(&self.dir)?.first().copied().unwrap_or(self.newest.base))
    }

    /// Appends one batch; durable after [`Ledger::sync`].
    ///
    /// # Errors
    /// [`LedgerError::Io`]. The ledger must then be opened again: a torn record may be at its end.
    pub fn append(&mut self, reached: Reached, entries: &[(Digest, Bucket)]) -> Result<Point, LedgerError> {
        if self.newest.length >= self.file_bytes_max {
            self.begin_file()?;
        }
        self.record.clear();
        batch(&mut self.record, behind(self.end), &reached, entries);
        self.newest.append(&self.record)?;
        self.reached = reached;
        self.end = point(self.newest.base + self.newest.length, checksum_of(&self.record));
        Ok(self.end)
    }

    /// Makes everything appended durable.
    ///
    /// # Errors
    /// As for [`Ledger::append`].
    pub fn sync(&self) -> Result<(), LedgerError> {
        self.newest.sync()
    }

    /// Deletes files that lie wholly below `replay_from` and whose batches are all older than the window; gives their
    /// count. Both must hold: the first keeps what the index still needs, the second what a rebuild of it needs.
    ///
    /// # Errors
    /// [`LedgerError`].
    pub(crate) fn prune(&mut self, replay_from: u64, clock_ms: i64) -> Result<usize, LedgerError> {
        let oldest = self.genesis.window.oldest(clock_ms);
        let bases = offsets(&self.dir)?;
        let mut pruned = 0;
        for pair in bases.windows(2) {
            let next = LedgerFile::open(&self.dir, pair[1])?;
            // The clock of all batches below is at most the one that the next file begins with; it may have been behind,
            // so the buckets themselves decide.
            let may_go = pair[1] <= replay_from && self.genesis.window.newest(next.clock_at_start()?) < oldest;
            if !may_go || LedgerFile::open(&self.dir, pair[0])?.newest_bucket()? >= Some(oldest) {
                break;
            }
            let path = self.dir.join(file_name(pair[0]));
            fs::remove_file(&path).map_err(|source| LedgerError::Io { path, source })?;
            pruned += 1;
        }
        Ok(pruned)
    }

    /// Finishes the newest file and begins the next with what stands for all before it.
    fn begin_file(&mut self) -> Result<(), LedgerError> {
        self.newest.sync()?;
        let mut head = Vec::new();
        let checkpoint = Checkpoint {
            genesis: self.genesis,
            positions: self.reached.positions.clone(),
            clock_ms: self.reached.clock_ms,
        };
        encode_checkpoint(&mut head, LANE, behind(self.end), &checkpoint);
        let base = self.end.next_offset;
        let (head, end) = with_reached(head, base, &self.reached);
        self.newest = LedgerFile::create(&self.dir, base, &head)?;
        self.end = end;
        Ok(())
    }
}

fn point(next_offset: u64, checksum: u64) -> Point {
    Point { next_offset, leader_epoch: -1, checksum }
}

/// What a record names that follows one which ends there. There is one input, so every record has all positions.
fn behind(end: Point) -> Chain {
    let before = Link { end: end.next_offset, checksum: end.checksum };
    Chain { before: Some(before), checkpoint: Some(end.next_offset) }
}

fn batch(out: &mut Vec<u8>, chain: Chain, reached: &Reached, entries: &[(Digest, Bucket)]) {
    let moved = Moved { positions: &reached.positions, is_all: true };
    encode_batch(out, (LANE, chain), reached.clock_ms, moved, Output::File(reached.output), entries);
}

/// The first two records of a file that begins at `base`, and where they end.
fn with_reached(mut head: Vec<u8>, base: u64, reached: &Reached) -> (Vec<u8>, Point) {
    let chain = behind(point(base + head.len() as u64, checksum_of(&head)));
    batch(&mut head, chain, reached, &[]);
    // The checksum that a record ends with is the last that there is.
    let end = point(base + head.len() as u64, checksum_of(&head));
    (head, end)
}

fn reached_by(batch: &Batch<'_>) -> Reached {
    let output = match batch.output {
        Output::File(range) => range,
        Output::None | Output::Partition(_) => FileRange::default(),
    };
    Reached { positions: batch.positions.clone(), output, clock_ms: batch.clock_ms }
}
