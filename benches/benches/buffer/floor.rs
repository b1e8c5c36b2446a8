//! The bare loop: writes that are synced when they return, over files of zeros, in given sizes. The same flags, the same
//! kind of file, nothing else. The bytes come from as much memory as the buffer cycles through: the same 4 MiB again and
//! again would come out of the processor's cache, which no data that somebody has just sent does.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use tempfile::TempDir;

use crate::ring::{SEGMENT_BYTES, folder, payload};

const BLOCK_BYTES: usize = 4096;
const WRITE_BYTES_MAX: usize = 4 << 20;
/// Default bounds of what waits for the disk and of what is kept for the reader.
const MEMORY_BYTES: usize = 32 << 20;

/// Files to write over, one after the other.
pub(crate) struct Floor {
    _folder: TempDir,
    files: Vec<File>,
    memory: Vec<u8>,
    start: usize,
    from: usize,
    file: usize,
    at: u64,
}

impl Floor {
    /// Makes the files. `direct`: whether the buffer writes past the page cache.
    pub(crate) fn new(files: usize, direct: bool) -> Self {
        let folder = folder();
        let zeros = vec![0; 1 << 20];
        let make = |number: usize| {
            let path = folder.path().join(format!("{number}"));
            let mut file = File::create(&path).expect("a file");
            (0..SEGMENT_BYTES / zeros.len() as u64).for_each(|_| file.write_all(&zeros).expect("room for zeros"));
            file.sync_all().expect("they are synced");
            let flags = if direct { OFlags::DIRECT | OFlags::DSYNC } else { OFlags::DSYNC };
            OpenOptions::new().write(true).custom_flags(flags.bits() as i32).open(path).expect("the file")
        };
        let files = (0..files).map(make).collect();
        let memory = payload(MEMORY_BYTES + BLOCK_BYTES);
        let start = memory.as_ptr().align_offset(BLOCK_BYTES);
        Self { _folder: folder, files, memory, start, from: 0, file: 0, at: 2 * BLOCK_BYTES as u64 }
    }

    /// Writes pieces of these sizes behind each other.
    pub(crate) fn write(&mut self, sizes: &[usize]) -> Duration {
        let start = Instant::now();
        for bytes in sizes {
            if self.at + *bytes as u64 > SEGMENT_BYTES {
                self.file = (self.file + 1) % self.files.len();
                self.at = 2 * BLOCK_BYTES as u64;
            }
            if self.from + bytes > MEMORY_BYTES {
                self.from = 0;
            }
            let memory = &self.memory[self.start + self.from..][..*bytes];
            self.from += bytes;
            self.files[self.file].write_all_at(memory, self.at).expect("it is written");
            self.at += *bytes as u64;
        }
        start.elapsed()
    }

    /// As many of the largest writes as take these bytes.
    pub(crate) fn largest(bytes: u64) -> Vec<usize> {
        vec![WRITE_BYTES_MAX; (bytes / WRITE_BYTES_MAX as u64) as usize]
    }
}
