//! What was sent and what became of it, on disk, in the order in which it was known. `LEDGER.md` has the bytes.
//!
//! One file a sending thread, so that nobody waits for a lock. An intent is written before the first of the requests
//! it covers is sent, in blocks of [`INTENT_REQUESTS`], so that it costs nothing on the hot path; the end record
//! takes back those that were never started. Outcomes are gathered and written a few times a second: an outcome that
//! is lost with a killed load generator leaves its request unanswered, which is weaker but never wrong.

use std::fs::File;
use std::io::{self, Read, Write};
use std::path::{Path, PathBuf};

use crate::Error;
use crate::retry::Outcome;

const MAGIC: [u8; 8] = *b"TSLEDGE1";
const HEADER_BYTES: usize = 28;
const FRAME_HEADER_BYTES: usize = 8;
const CHECKSUM_BYTES: usize = 4;
const ENTRY_BYTES: usize = 12;
/// Outcomes of one frame: 48 KiB.
pub const FRAME_ENTRIES_MAX: usize = 4096;
/// Requests of one thread that one intent announces.
pub const INTENT_REQUESTS: u64 = 1024;

const INTENT: u8 = 1;
const OUTCOMES: u8 = 2;
const END: u8 = 3;

/// What became of one request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Entry {
    /// Its number.
    pub request: u64,
    /// How it ended.
    pub outcome: Outcome,
    /// Sendings that the server may have kept, at most 255.
    pub perhaps_kept: u8,
    /// Status of the last answer, 0 without one.
    pub status: u16,
}

/// The file of one sending thread in the directory of a run.
pub fn path(dir: &Path, thread: u32) -> PathBuf {
    dir.join(format!("requests-{thread:03}.ledger"))
}

/// Appends to the file of one thread.
#[derive(Debug)]
pub struct Writer {
    file: File,
    path: PathBuf,
    /// The open outcomes frame, with room for its header.
    frame: Vec<u8>,
}

impl Writer {
    /// Starts the file of thread `thread` of `threads`.
    ///
    /// # Errors
    /// [`Error::Failed`] where it exists already or cannot be written.
    pub fn create(dir: &Path, seed: u64, thread: u32, threads: u32) -> Result<Self, Error> {
        let path = path(dir, thread);
        let mut header = Vec::with_capacity(HEADER_BYTES);
        header.extend_from_slice(&MAGIC);
        header.extend_from_slice(&seed.to_le_bytes());
        header.extend_from_slice(&thread.to_le_bytes());
        header.extend_from_slice(&threads.to_le_bytes());
        header.extend_from_slice(&crc32c::crc32c(&header).to_le_bytes());
        let created = File::options().write(true).create_new(true).open(&path);
        let mut file = created.map_err(|error| Error::file("create", &path, &error))?;
        file.write_all(&header).map_err(|error| Error::file("write", &path, &error))?;
        Ok(Self { file, path, frame: vec![0; FRAME_HEADER_BYTES] })
    }

    /// Notes that this thread's requests below `limit` may be sent from now on.
    ///
    /// # Errors
    /// [`Error::Failed`] where it cannot be written: then nothing new may be sent.
    pub fn intend(&mut self, limit: u64) -> Result<(), Error> {
        self.flush()?;
        self.write_frame(INTENT, &limit.to_le_bytes())
    }

    /// Notes an outcome; it reaches the file at the latest with the next [`Writer::flush`].
    ///
    /// # Errors
    /// [`Error::Failed`] where a full frame cannot be written.
    pub fn note(&mut self, entry: Entry) -> Result<(), Error> {
        self.frame.extend_from_slice(&entry.request.to_le_bytes());
        self.frame.push(entry.outcome as u8);
        self.frame.push(entry.perhaps_kept);
        self.frame.extend_from_slice(&entry.status.to_le_bytes());
        if self.frame.len() >= FRAME_HEADER_BYTES + FRAME_ENTRIES_MAX * ENTRY_BYTES { self.flush() } else { Ok(()) }
    }

    /// Writes the outcomes noted so far.
    ///
    /// # Errors
    /// [`Error::Failed`] where they cannot be written.
    pub fn flush(&mut self) -> Result<(), Error> {
        if self.frame.len() == FRAME_HEADER_BYTES {
            return Ok(());
        }
        let mut frame = std::mem::take(&mut self.frame);
        let payload = frame.split_off(FRAME_HEADER_BYTES);
        self.frame = frame;
        self.write_frame(OUTCOMES, &payload)
    }

    /// Notes that none of this thread's requests from `limit` on was started.
    ///
    /// # Errors
    /// [`Error::Failed`] where it cannot be written.
    pub fn end(mut self, limit: u64) -> Result<(), Error> {
        self.flush()?;
        self.write_frame(END, &limit.to_le_bytes())
    }

    fn write_frame(&mut self, kind: u8, payload: &[u8]) -> Result<(), Error> {
        let mut bytes = Vec::with_capacity(FRAME_HEADER_BYTES + payload.len() + CHECKSUM_BYTES);
        bytes.extend_from_slice(&[kind, 0, 0, 0]);
        bytes.extend_from_slice(&(payload.len() as u32).to_le_bytes());
        bytes.extend_from_slice(payload);
        bytes.extend_from_slice(&crc32c::crc32c(&bytes).to_le_bytes());
        self.file.write_all(&bytes).map_err(|error| Error::file("write", &self.path, &error))
    }
}

/// What the file of one thread says beside its entries.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Summary {
    /// The run's seed.
    pub seed: u64,
    /// Which thread wrote it.
    pub thread: u32,
    /// Threads of the run: this one sent the requests whose number leaves `thread` when divided by `threads`.
    pub threads: u32,
    /// Its requests below this may have been sent.
    pub limit: u64,
    /// The run came to its end; otherwise the load generator was killed.
    pub is_ended: bool,
    /// Bytes of an incomplete record at the end, which are ignored.
    pub torn_bytes: u64,
}

/// Reads the file of one thread, handing each outcome to `take`.
///
/// # Errors
/// [`Error::Failed`] where it cannot be read, is of another kind, or is damaged before its last record: entries behind
/// the damage would be missed.
pub fn read(path: &Path, mut take: impl FnMut(Entry)) -> Result<Summary, Error> {
    let failed = |error: io::Error| Error::file("read", path, &error);
    let damaged = |at: u64| Error::Failed(format!("{} is damaged at byte {at}", path.display()));
    let file = File::open(path).map_err(failed)?;
    let file_bytes = file.metadata().map_err(failed)?.len();
    let mut file = io::BufReader::with_capacity(128 << 10, file);
    let mut header = [0; HEADER_BYTES];
    if file_bytes < HEADER_BYTES as u64 {
        return Err(damaged(0));
    }
    file.read_exact(&mut header).map_err(failed)?;
    if header[..8] != MAGIC || crc32c::crc32c(&header[..24]).to_le_bytes() != header[24..] {
        return Err(damaged(0));
    }
    let (seed, thread, threads) = (u64_at(&header, 8), u32_at(&header, 16), u32_at(&header, 20));
    let mut summary = Summary { seed, thread, threads, limit: 0, is_ended: false, torn_bytes: 0 };
    let mut at = HEADER_BYTES as u64;
    let mut frame = Vec::new();
    while at < file_bytes {
        let left = file_bytes - at;
        let mut frame_header = [0; FRAME_HEADER_BYTES];
        let mut frame_bytes = left + 1;
        if left >= FRAME_HEADER_BYTES as u64 {
            file.read_exact(&mut frame_header).map_err(failed)?;
            let payload_bytes = u32_at(&frame_header, 4) as usize;
            if payload_bytes > FRAME_ENTRIES_MAX * ENTRY_BYTES {
                return Err(damaged(at));
            }
            frame_bytes = (FRAME_HEADER_BYTES + payload_bytes + CHECKSUM_BYTES) as u64;
        }
        if frame_bytes > left {
            summary.torn_bytes = left;
            break;
        }
        frame.clear();
        frame.extend_from_slice(&frame_header);
        frame.resize(frame_bytes as usize, 0);
        file.read_exact(&mut frame[FRAME_HEADER_BYTES..]).map_err(failed)?;
        let (body, checksum) = frame.split_at(frame.len() - CHECKSUM_BYTES);
        if crc32c::crc32c(body).to_le_bytes() != checksum {
            if frame_bytes == left {
                summary.torn_bytes = left;
                break;
            }
            return Err(damaged(at));
        }
        take_frame(&body[FRAME_HEADER_BYTES..], body[0], &mut summary, &mut take).ok_or_else(|| damaged(at))?;
        at += frame_bytes;
    }
    Ok(summary)
}

fn take_frame(payload: &[u8], kind: u8, summary: &mut Summary, take: &mut impl FnMut(Entry)) -> Option<()> {
    match kind {
        INTENT | END if payload.len() == 8 => {
            summary.limit = u64_at(payload, 0);
            summary.is_ended = kind == END;
        }
        OUTCOMES if payload.len().is_multiple_of(ENTRY_BYTES) => {
            for entry in payload.chunks_exact(ENTRY_BYTES) {
                let request = u64_at(entry, 0);
                // An intent comes first, so a reader may size its memory by the numbers.
                if request >= summary.limit {
                    return None;
                }
                take(Entry {
                    request,
                    outcome: Outcome::from_byte(entry[8])?,
                    perhaps_kept: entry[9],
                    status: u16::from_le_bytes([entry[10], entry[11]]),
                });
            }
        }
        _ => return None,
    }
    Some(())
}

fn u64_at(bytes: &[u8], at: usize) -> u64 {
    u64::from_le_bytes(bytes[at..at + 8].try_into().expect("eight bytes"))
}

fn u32_at(bytes: &[u8], at: usize) -> u32 {
    u32::from_le_bytes(bytes[at..at + 4].try_into().expect("four bytes"))
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::*;

    fn entry(request: u64) -> Entry {
        let outcome = Outcome::from_byte(1 + (request % 5) as u8).expect("an outcome");
        Entry { request, outcome, perhaps_kept: (request % 3) as u8, status: 200 + (request % 300) as u16 }
    }

    fn write(dir: &Path, entries: u64) {
        let mut writer = Writer::create(dir, 42, 1, 2).expect("creates");
        for request in 0..entries {
            if request % 10 == 0 {
                writer.intend(request + 10).expect("writes");
            }
            writer.note(entry(request)).expect("writes");
        }
        writer.end(entries).expect("writes");
    }

    fn read_all(file: &Path) -> Result<(Summary, Vec<Entry>), Error> {
        let mut entries = Vec::new();
        let summary = read(file, |entry| entries.push(entry))?;
        Ok((summary, entries))
    }

    #[test]
    fn what_is_noted_is_read() {
        let dir = tempfile::tempdir().expect("a directory");
        write(dir.path(), 25);
        let (summary, entries) = read_all(&path(dir.path(), 1)).expect("reads");
        assert_eq!(entries, (0..25).map(entry).collect::<Vec<_>>());
        let expected = Summary { seed: 42, thread: 1, threads: 2, limit: 25, is_ended: true, torn_bytes: 0 };
        assert_eq!(summary, expected);
        Writer::create(dir.path(), 42, 1, 2).expect_err("an existing ledger is not overwritten");
    }

    #[test]
    fn a_full_frame_goes_out_by_itself() {
        let dir = tempfile::tempdir().expect("a directory");
        let mut writer = Writer::create(dir.path(), 1, 0, 1).expect("creates");
        writer.intend(FRAME_ENTRIES_MAX as u64 + 1).expect("writes");
        (0..=FRAME_ENTRIES_MAX as u64).for_each(|request| writer.note(entry(request)).expect("writes"));
        let (_, entries) = read_all(&path(dir.path(), 0)).expect("reads");
        assert_eq!(entries.len(), FRAME_ENTRIES_MAX);
    }

    #[test]
    fn every_cut_leaves_a_prefix() {
        let dir = tempfile::tempdir().expect("a directory");
        write(dir.path(), 25);
        let file = path(dir.path(), 1);
        let whole = fs::read(&file).expect("reads");
        let all: Vec<_> = (0..25).map(entry).collect();
        for end in HEADER_BYTES..whole.len() {
            fs::write(&file, &whole[..end]).expect("writes");
            let (summary, entries) = read_all(&file).expect("a torn tail is tolerated");
            assert!(all.starts_with(&entries) && !summary.is_ended, "{end}");
            assert!(summary.limit >= entries.len() as u64, "an outcome never stands before its intent");
        }
        fs::write(&file, &whole[..HEADER_BYTES - 1]).expect("writes");
        read_all(&file).expect_err("without its header it says nothing");
    }

    #[test]
    fn no_flipped_bit_adds_or_changes_an_entry() {
        let dir = tempfile::tempdir().expect("a directory");
        write(dir.path(), 25);
        let file = path(dir.path(), 1);
        let whole = fs::read(&file).expect("reads");
        let all: Vec<_> = (0..25).map(entry).collect();
        for bit in 0..whole.len() * 8 {
            let mut bytes = whole.clone();
            bytes[bit / 8] ^= 1 << (bit % 8);
            fs::write(&file, bytes).expect("writes");
            if let Ok((summary, entries)) = read_all(&file) {
                assert!(all.starts_with(&entries) && summary.torn_bytes > 0, "bit {bit}");
            }
        }
    }
}
