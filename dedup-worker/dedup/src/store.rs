//! The sealed runs on disk: RocksDB, used for what it does best, ordered tables that are there whole or not at all.
//!
//! One run is one table file, written in key order beside the store and ingested: no memtable, no log, no compaction.
//! All runs live in the default column family. Numbered one up, their keys never overlap, so every file lies in the
//! last level, a lookup finds its file by one binary search, and dropping a run is dropping a file. (A column family a
//! bucket would have to be made, durably, before the file that goes into it, and gives options a second place to be
//! forgotten in.)
//!
//! ```text
//! key                                  value
//! sequence (u32, big-endian)           the run's description (`run::meta`)
//! sequence, prefix (u32, big-endian)   the group of that prefix (`run::pack`)
//! sequence, ff ff ff ff                the run's own filter, where somebody asked when it was sealed
//! ```

use std::fs::File;
use std::path::{Path, PathBuf};

use bloomfilter::Bloom;
use rocksdb::{
    BlockBasedOptions, ChecksumType, DB, DBCompressionType, DBPinnableSlice, ErrorKind, IngestExternalFileOptions,
    LogLevel, Options, ReadOptions, SstFileWriter,
};
use wire::Bucket;

use crate::error::IndexError;
use crate::fingerprint::{Entry, Fingerprint};
use crate::run::meta::RunMeta;
use crate::run::pack::{Found, GroupWriter, Split};

/// Which of the group's runs to read: one in twenty is read in vain, for 6.2 bits an identity. Halving that costs
/// another 1.4 bits of memory and disk each, to save a read for one event in some thousands.
const RUN_FILTER_FALSE_RATE: f64 = 0.05;
/// The digests come from a seeded hash, so this need not be secret. Equal halves would make the crate's two hash
/// functions one.
const RUN_FILTER_SEED: [u8; 32] = *b"turnstile filter of a sealed run";
/// Prefix of the key that holds the filter; groups have 24 bits at most.
const FILTER_PREFIX: u32 = u32::MAX;
const SEQUENCE_BYTES: usize = 4;
const GROUP_KEY_BYTES: usize = 8;

/// Tables kept open, index included: about a window of runs. A table beyond it is opened again for its next read.
const OPEN_TABLES_MAX: i32 = 256;
const SCAN_READAHEAD_BYTES: usize = 2 << 20;

/// The filter of one run.
pub(crate) type RunFilter = Bloom<u64>;

pub(crate) struct Store {
    db: DB,
    reads: ReadOptions,
}

impl Store {
    /// Opens the store at `path`, or makes it.
    pub(crate) fn open(path: &Path) -> Result<Self, IndexError> {
        let db = DB::open(&settings(), path).map_err(|error| {
            let text = error.to_string();
            if error.kind() == ErrorKind::IOError && text.contains("lock") {
                IndexError::Locked(path.to_owned())
            } else {
                store_error("open store", &error)
            }
        })?;
        Ok(Self { db, reads: ReadOptions::default() })
    }

    /// Every run's description, the oldest first, with the bytes of its file.
    pub(crate) fn runs(&self) -> Result<Vec<(RunMeta, u64)>, IndexError> {
        let files = self.db.live_files().map_err(|error| store_error("list files", &error))?;
        let mut runs = Vec::with_capacity(files.len());
        let mut iterator = self.db.raw_iterator_opt(scan_options());
        iterator.seek_to_first();
        while let Some((key, value)) = iterator.item() {
            let sequence = sequence_of(key).filter(|_| key.len() == SEQUENCE_BYTES);
            let meta = RunMeta::from_bytes(value)?;
            if sequence != Some(meta.sequence) {
                return Err(IndexError::Damaged("a run's description under another run's key".into()));
            }
            let bytes = files.iter().filter(|file| file.start_key.as_deref() == Some(key)).map(|file| file.size as u64);
            runs.push((meta, bytes.sum()));
            let Some(next) = meta.sequence.checked_add(1) else { break };
            iterator.seek(next.to_be_bytes());
        }
        iterator.status().map_err(|error| store_error("list runs", &error))?;
        Ok(runs)
    }

    /// The filter that a run has inside, if it was sealed with one.
    pub(crate) fn filter(&self, meta: &RunMeta) -> Result<Option<RunFilter>, IndexError> {
        let key = group_key(meta.sequence, FILTER_PREFIX);
        let bytes = self.db.get_opt(key, &self.reads).map_err(|error| store_error("read a run's filter", &error))?;
        bytes.map(RunFilter::from_bytes).transpose().map_err(|what| IndexError::Damaged(what.into()))
    }

    /// Reads a whole run: gives every identity to `visit` in ascending order, and checks that they are as many as the run
    /// says.
    pub(crate) fn scan(&self, meta: &RunMeta, mut visit: impl FnMut(Entry)) -> Result<(), IndexError> {
        let split = Split::try_new(meta.prefix_bits, meta.tail_bytes)?;
        let mut iterator = self.db.raw_iterator_opt(scan_options());
        iterator.seek(group_key(meta.sequence, 0));
        let (mut count, mut last) = (0, None);
        while let Some((key, value)) = iterator.item() {
            if sequence_of(key) != Some(meta.sequence) {
                break;
            }
            let prefix = prefix_of(key).ok_or_else(|| IndexError::Damaged("a key of a wrong length".into()))?;
            if prefix == FILTER_PREFIX {
                break;
            }
            count += split.visit(value, prefix, meta.main_bucket, |entry| {
                if last.replace(entry.fingerprint()) >= Some(entry.fingerprint()) {
                    return Err(IndexError::Damaged("a run's identities are out of order".into()));
                }
                visit(entry);
                Ok(())
            })?;
            iterator.next();
        }
        iterator.status().map_err(|error| store_error("read run", &error))?;
        if count == meta.count {
            Ok(())
        } else {
            Err(IndexError::Damaged(format!("run {} has {count} of {} ids", meta.sequence, meta.count)))
        }
    }

    /// The bucket a run gives to a fingerprint, if it holds it.
    pub(crate) fn find(&self, meta: &RunMeta, fingerprint: Fingerprint) -> Result<Option<Bucket>, IndexError> {
        let split = Split::try_new(meta.prefix_bits, meta.tail_bytes)?;
        let key = group_key(meta.sequence, split.group_of(fingerprint));
        let group: Option<DBPinnableSlice<'_>> =
            self.db.get_pinned_opt(key, &self.reads).map_err(|error| unread(store_error("look up", &error)))?;
        // A prefix that no identity has makes no group; that a group has been lost shows as a corrupt block.
        let Some(group) = group else { return Ok(None) };
        Ok(match split.find(&group, fingerprint)? {
            Found::No => None,
            Found::InMain => Some(meta.main_bucket),
            Found::In(bucket) => Some(bucket),
        })
    }

    /// Makes the run at `file` part of the store, durably: the file and its directory are synced, then the manifest
    /// names it. After an error nobody knows whether it does, and this store takes no more runs.
    pub(crate) fn ingest(&self, file: PathBuf, is_asked: bool) -> Result<(), IndexError> {
        let run = is_asked.then(|| File::open(&file));
        let mut options = IngestExternalFileOptions::default();
        // Linked, not copied.
        options.set_move_files(true);
        self.db.ingest_external_file_opts(&options, vec![file]).map_err(|error| store_error("ingest run", &error))?;
        // RocksDB's writer drops what it wrote from the page cache; most repeats are of what came last. This only
        // begins to read it back, and may fail.
        if let Some(Ok(run)) = run {
            let _ = rustix::fs::fadvise(&run, 0, None, rustix::fs::Advice::WillNeed);
        }
        Ok(())
    }

    /// Drops the runs `first` to `last`, durably and in one step.
    pub(crate) fn drop_runs(&self, first: u32, last: u32) -> Result<(), IndexError> {
        let from = first.to_be_bytes();
        let to = group_key(last, FILTER_PREFIX);
        self.db.delete_file_in_range(&from[..], &to[..]).map_err(|error| store_error("drop runs", &error))
    }
}

/// Whether nobody has the store at `path` open, as far as its lock tells. A store too damaged to be opened is free.
pub(crate) fn is_free(path: &Path) -> Result<(), IndexError> {
    match Store::open(path) {
        Err(locked @ IndexError::Locked(_)) => Err(locked),
        _ => Ok(()),
    }
}

/// An empty filter for the identities of a run.
pub(crate) fn new_filter(meta: &RunMeta) -> Result<RunFilter, IndexError> {
    RunFilter::new_for_fp_rate_with_seed(meta.count.max(1) as usize, RUN_FILTER_FALSE_RATE, &RUN_FILTER_SEED)
        .map_err(|what| IndexError::Store { operation: "make run filter", detail: what.into() })
}

/// Writes a run to `path` and syncs it. The identities go into `filter`, where there is one, and it into the run. Returns
/// the bytes of the file.
pub(crate) fn write_run(
    path: &Path,
    meta: &RunMeta,
    entries: impl Iterator<Item = Entry>,
    mut filter: Option<&mut RunFilter>,
) -> Result<u64, IndexError> {
    let failed = |error: rocksdb::Error| store_error("write run", &error);
    let split = Split::try_new(meta.prefix_bits, meta.tail_bytes)?;
    let settings = settings();
    let mut writer = SstFileWriter::create(&settings);
    writer.open(path).map_err(failed)?;
    writer.put(meta.sequence.to_be_bytes(), meta.to_bytes()).map_err(failed)?;
    let mut group = GroupWriter::new(split, meta.main_bucket);
    let mut prefix = 0;
    for entry in entries {
        let fingerprint = entry.fingerprint();
        if let Some(filter) = &mut filter {
            filter.set(&fingerprint.low());
        }
        if split.group_of(fingerprint) != prefix {
            if !group.is_empty() {
                group.finish(|value| writer.put(group_key(meta.sequence, prefix), value).map_err(failed))?;
            }
            prefix = split.group_of(fingerprint);
        }
        group.push(entry);
    }
    if !group.is_empty() {
        group.finish(|value| writer.put(group_key(meta.sequence, prefix), value).map_err(failed))?;
    }
    if let Some(filter) = filter {
        writer.put(group_key(meta.sequence, FILTER_PREFIX), filter.as_slice()).map_err(failed)?;
    }
    writer.finish().map_err(failed)?;
    Ok(writer.file_size())
}

/// Settings of the store and of the files written for it, of its only column family too.
fn settings() -> Options {
    let mut table = BlockBasedOptions::default();
    // A lookup reads one block: four groups or so. Larger ones are read and checked for nothing.
    table.set_block_size(4 << 10);
    // Identities are looked up at random, so a cache smaller than the index rarely has the block, and costs 1 µs a
    // lookup to keep; the system's page cache serves all indexes of the machine.
    table.disable_cache();
    // Checked at every read from disk; the fastest of them.
    table.set_checksum_type(ChecksumType::XXH3);
    table.set_format_version(6);

    let mut options = Options::default();
    options.create_if_missing(true);
    options.set_block_based_table_factory(&table);
    // Fingerprints do not compress.
    options.set_compression_type(DBCompressionType::None);
    // Runs never overlap, so there is nothing to compact, and nothing is ever written to a memtable or a log.
    options.set_disable_auto_compactions(true);
    options.set_write_buffer_size(64 << 10);
    options.set_max_background_jobs(1);
    options.set_max_open_files(OPEN_TABLES_MAX);
    // Missing files and files of another size are found when the store is opened, not in the middle of a lookup.
    options.set_paranoid_checks(true);
    // A few hundred bytes a run; the defaults reserve 4 MB and let it grow to 1 GB.
    options.set_manifest_preallocation_size(64 << 10);
    options.set_max_manifest_file_size(1 << 20);
    // No periodic statistics and next to no log of its own: this crate reports what it does.
    options.set_stats_dump_period_sec(0);
    options.set_stats_persist_period_sec(0);
    options.set_log_level(LogLevel::Warn);
    options.set_max_log_file_size(1 << 20);
    options.set_keep_log_file_num(2);
    options
}

/// For reading whole runs.
fn scan_options() -> ReadOptions {
    let mut options = ReadOptions::default();
    options.set_readahead_size(SCAN_READAHEAD_BYTES);
    options
}

fn group_key(sequence: u32, prefix: u32) -> [u8; GROUP_KEY_BYTES] {
    (u64::from(sequence) << 32 | u64::from(prefix)).to_be_bytes()
}

fn sequence_of(key: &[u8]) -> Option<u32> {
    key.first_chunk::<SEQUENCE_BYTES>().map(|bytes| u32::from_be_bytes(*bytes))
}

fn prefix_of(key: &[u8]) -> Option<u32> {
    let key: &[u8; GROUP_KEY_BYTES] = key.try_into().ok()?;
    Some(u64::from_be_bytes(*key) as u32)
}

/// A lookup that failed, where the data is not to blame.
fn unread(error: IndexError) -> IndexError {
    match error {
        IndexError::Store { detail, .. } => IndexError::Unread { detail },
        error => error,
    }
}

/// Whether the data is to blame, or only the moment. What RocksDB cannot explain counts as damage: a rebuild costs
/// time, a wrong answer costs an event.
fn store_error(operation: &'static str, error: &rocksdb::Error) -> IndexError {
    let detail = error.to_string();
    match error.kind() {
        ErrorKind::IOError if detail.contains("No such file") => IndexError::Damaged(detail),
        ErrorKind::IOError
        | ErrorKind::Busy
        | ErrorKind::TimedOut
        | ErrorKind::TryAgain
        | ErrorKind::Aborted
        | ErrorKind::ShutdownInProgress => IndexError::Store { operation, detail },
        _ => IndexError::Damaged(detail),
    }
}
