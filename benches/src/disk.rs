//! A disk as bare writes see it: writes that are synced when they return, over files of zeros, in given sizes. The same
//! flags as the buffer's, the same kind of file, nothing else. The bytes come from as much memory as the buffer cycles
//! through: the same 4 MiB again and again would come out of the processor's cache, which no data that somebody has just
//! sent does.

use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::os::unix::fs::{FileExt as _, OpenOptionsExt as _};
use std::time::{Duration, Instant};

use rustix::fs::OFlags;
use tempfile::TempDir;

/// Bytes of a file, as many as a segment of the buffer has.
pub const FILE_BYTES: u64 = 64 << 20;
/// The largest write: that of the buffer.
pub const WRITE_BYTES_MAX: usize = 4 << 20;
/// What a write starts at a multiple of, on disk and in memory.
pub const BLOCK_BYTES: usize = 4096;
/// Default bounds of what waits for the disk and of what is kept for the reader.
const MEMORY_BYTES: usize = 32 << 20;

/// Files to write over, one after the other.
pub struct BareDisk {
    _folder: TempDir,
    files: Vec<File>,
    memory: Vec<u8>,
    start: usize,
    from: usize,
    file: usize,
    at: u64,
}

impl BareDisk {
    /// Makes the files. `direct`: whether the buffer writes past the page cache.
    ///
    /// # Panics
    /// Where the disk refuses.
    pub fn new(folder: TempDir, files: usize, direct: bool) -> Self {
        let zeros = vec![0; 1 << 20];
        let make = |number: usize| {
            let path = folder.path().join(format!("{number}"));
            let mut file = File::create(&path).expect("a file");
            (0..FILE_BYTES / zeros.len() as u64).for_each(|_| file.write_all(&zeros).expect("room for zeros"));
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
    ///
    /// # Panics
    /// Where the disk refuses, or a piece is larger than the largest write.
    pub fn write(&mut self, sizes: &[usize]) -> Duration {
        let start = Instant::now();
        for bytes in sizes {
            if self.from + bytes > MEMORY_BYTES {
                self.from = 0;
            }
            let at = self.place(*bytes);
            let memory = &self.memory[self.start + self.from..][..*bytes];
            self.files[self.file].write_all_at(memory, at).expect("it is written");
            self.from += bytes;
        }
        start.elapsed()
    }

    /// Writes these bytes, whole blocks that start at one.
    ///
    /// # Panics
    /// As [`BareDisk::write`].
    pub fn write_bytes(&mut self, bytes: &[u8]) {
        let at = self.place(bytes.len());
        self.files[self.file].write_all_at(bytes, at).expect("it is written");
    }

    /// Where the next bytes go.
    fn place(&mut self, bytes: usize) -> u64 {
        if self.at + bytes as u64 > FILE_BYTES {
            self.file = (self.file + 1) % self.files.len();
            self.at = 2 * BLOCK_BYTES as u64;
        }
        let at = self.at;
        self.at += bytes as u64;
        at
    }

    /// As many of the largest writes as take these bytes.
    pub fn largest(bytes: u64) -> Vec<usize> {
        vec![WRITE_BYTES_MAX; (bytes / WRITE_BYTES_MAX as u64) as usize]
    }

    /// What it takes of the largest writes, MB/s.
    pub fn speed(&mut self, bytes: u64) -> f64 {
        let sizes = Self::largest(bytes);
        let took = self.write(&sizes);
        sizes.iter().sum::<usize>() as f64 / took.as_secs_f64() / 1e6
    }
}

/// Bytes that no disk can shorten.
pub fn payload(bytes: usize) -> Vec<u8> {
    let mut state = 0x9e37_79b9_7f4a_7c15_u64;
    let next = || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        (state >> 56) as u8
    };
    std::iter::repeat_with(next).take(bytes).collect()
}
