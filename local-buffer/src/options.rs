//! The choices of whoever opens a buffer, and the bounds that follow from them.

use crate::error::OpenError;
use crate::format::{BLOCK_BYTES, DATA_START, payload_bytes_max};
use crate::memory::CHUNK_BYTES;

/// Below this a segment is mostly header.
pub const SEGMENT_BYTES_MIN: u64 = 256 << 10;
/// Block indexes are 32 bits, and nothing is gained by larger files.
pub const SEGMENT_BYTES_MAX: u64 = 4 << 30;
/// One group is filled while another is written: room for two of the smallest.
pub const PENDING_BYTES_MIN: usize = 4 * CHUNK_BYTES;
/// The most that goes to disk in one write. A larger write is no faster and makes the first record of it wait.
pub const GROUP_BYTES_MAX: usize = 4 << 20;
/// Memory for durable groups that were not read yet.
const RECENT_BYTES: usize = 16 << 20;

/// How to open a buffer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// Size of a segment file, bytes; a multiple of 4096, from [`SEGMENT_BYTES_MIN`] to [`SEGMENT_BYTES_MAX`].
    /// Default 64 MiB. Another size than last time is fine.
    pub segment_bytes: u64,
    /// Bound of all segment files together, bytes; at least two segments. Default 8 GiB.
    pub bytes_max: u64,
    /// Largest record, bytes. Default 2 MiB. A segment, or half of `pending_bytes_max`, that holds less lowers it.
    pub record_bytes_max: u32,
    /// Bound of what was appended and is not yet written, bytes. Default 16 MiB, at least [`PENDING_BYTES_MIN`].
    pub pending_bytes_max: usize,
    /// When records become durable.
    pub sync: SyncPolicy,
    /// How they are written.
    pub direct_io: DirectIo,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            segment_bytes: 64 << 20,
            bytes_max: 8 << 30,
            record_bytes_max: 2 << 20,
            pending_bytes_max: 16 << 20,
            sync: SyncPolicy::Group,
            direct_io: DirectIo::Auto,
        }
    }
}

/// When a record counts as durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SyncPolicy {
    /// As many records as wait go to disk in one write and sync. Where writes take 2 ms and more, one waits while its
    /// group grows, up to 128 KiB and for no more than a quarter of the time that the last one took.
    ///
    /// A process kill loses no durable record. A power cut loses no durable record.
    Group,
    /// Every `append` and `append_batch` gets a write and sync of its own.
    ///
    /// A process kill loses no durable record. A power cut loses no durable record. Slower than `Group`, never safer.
    EveryAppend,
    /// Records are handed to the kernel and never synced; "durable" means no more than that.
    ///
    /// A process kill loses no durable record. A power cut may lose any of them, and ids may then be given again.
    Never,
}

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DirectIo {
    /// Past the page cache and synced in the same call where the file system can, else like `Off`.
    Auto,
    /// Through the page cache, then `fdatasync`.
    Off,
}

/// What follows from the options.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Bounds {
    pub(crate) segment_bytes: u64,
    pub(crate) bytes_max: u64,
    pub(crate) group_bytes_max: usize,
    pub(crate) record_bytes_max: usize,
    pub(crate) pending_chunks_max: usize,
    pub(crate) recent_chunks: usize,
    pub(crate) sync: SyncPolicy,
}

impl Bounds {
    pub(crate) fn of(options: &Options) -> Result<Self, OpenError> {
        let refuse = |name, problem: String| Err(OpenError::Option { name, problem });
        let segment_bytes = options.segment_bytes;
        if !(SEGMENT_BYTES_MIN..=SEGMENT_BYTES_MAX).contains(&segment_bytes) {
            let problem = format!("{segment_bytes} is not between {SEGMENT_BYTES_MIN} and {SEGMENT_BYTES_MAX}");
            return refuse("segment_bytes", problem);
        }
        if !segment_bytes.is_multiple_of(BLOCK_BYTES as u64) {
            return refuse("segment_bytes", format!("{segment_bytes} is not a multiple of {BLOCK_BYTES}"));
        }
        if options.bytes_max < 2 * segment_bytes {
            return refuse("bytes_max", format!("{} is less than two segments", options.bytes_max));
        }
        if options.pending_bytes_max < PENDING_BYTES_MIN {
            let problem = format!("{} is less than {PENDING_BYTES_MIN}", options.pending_bytes_max);
            return refuse("pending_bytes_max", problem);
        }
        let pending_chunks_max = options.pending_bytes_max / CHUNK_BYTES;
        let segment_data_bytes = (segment_bytes - DATA_START) as usize;
        let group_bytes_max = GROUP_BYTES_MAX.min(pending_chunks_max / 2 * CHUNK_BYTES).min(segment_data_bytes);
        let record_bytes_max = payload_bytes_max(group_bytes_max / BLOCK_BYTES).min(options.record_bytes_max as usize);
        let bytes_max = options.bytes_max;
        let recent_chunks = RECENT_BYTES / CHUNK_BYTES;
        let sync = options.sync;
        Ok(Self {
            segment_bytes,
            bytes_max,
            group_bytes_max,
            record_bytes_max,
            pending_chunks_max,
            recent_chunks,
            sync,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn refused(options: &Options) -> &'static str {
        match Bounds::of(options) {
            Err(OpenError::Option { name, .. }) => name,
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn every_option_out_of_its_bounds_is_refused_by_name() {
        let good = Options::default();
        assert_eq!(refused(&Options { segment_bytes: SEGMENT_BYTES_MIN - 4096, ..good.clone() }), "segment_bytes");
        assert_eq!(refused(&Options { segment_bytes: SEGMENT_BYTES_MAX + 4096, ..good.clone() }), "segment_bytes");
        assert_eq!(refused(&Options { segment_bytes: (1 << 20) + 1, ..good.clone() }), "segment_bytes");
        assert_eq!(refused(&Options { bytes_max: 127 << 20, ..good.clone() }), "bytes_max");
        assert_eq!(refused(&Options { pending_bytes_max: PENDING_BYTES_MIN - 1, ..good }), "pending_bytes_max");
    }

    #[test]
    fn the_largest_record_is_what_the_smallest_of_its_containers_holds() {
        let bounds = |options: &Options| Bounds::of(options).unwrap();
        assert_eq!(bounds(&Options::default()).record_bytes_max, 2 << 20);
        assert_eq!(bounds(&Options::default()).group_bytes_max, GROUP_BYTES_MAX);
        let small = bounds(&Options { segment_bytes: SEGMENT_BYTES_MIN, ..Options::default() });
        assert_eq!(small.record_bytes_max, 62 * 4064 - 20);
        let tight = bounds(&Options { pending_bytes_max: PENDING_BYTES_MIN, ..Options::default() });
        assert_eq!(tight.record_bytes_max, 32 * 4064 - 20);
    }
}
