//! One file of the ledger, and the records in it.

use std::fs::{self, File, OpenOptions};
use std::io;
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};

use wire::changelog::{Framed, MAGIC, Record, record_bytes};
use wire::{Bucket, DecodeError};

use super::LedgerError;

const EXTENSION: &str = "ledger";
const OFFSET_DIGITS: usize = 20;

/// A file that has its name, and so its first two records.
#[derive(Debug)]
pub(super) struct LedgerFile {
    pub(super) path: PathBuf,
    /// Ledger offset of its first byte.
    pub(super) base: u64,
    /// Bytes in it.
    pub(super) length: u64,
    file: File,
}

pub(super) fn file_name(base: u64) -> String {
    format!("{base:020}.{EXTENSION}")
}

fn file_offset(path: &Path) -> Option<u64> {
    let stem = path.file_name()?.to_str()?.strip_suffix(EXTENSION)?.strip_suffix('.')?;
    (stem.len() == OFFSET_DIGITS && stem.bytes().all(|byte| byte.is_ascii_digit())).then(|| stem.parse().ok()).flatten()
}

/// Ledger offsets at which the files begin, rising.
pub(super) fn offsets(dir: &Path) -> Result<Vec<u64>, LedgerError> {
    let read = || -> io::Result<Vec<u64>> {
        let mut offsets = Vec::new();
        for entry in fs::read_dir(dir)? {
            offsets.extend(file_offset(&entry?.path()));
        }
        offsets.sort_unstable();
        Ok(offsets)
    };
    read().map_err(|source| LedgerError::Io { path: dir.to_owned(), source })
}

impl LedgerFile {
    /// Writes `head` under a passing name, syncs it, and only then gives the file its own.
    pub(super) fn create(dir: &Path, base: u64, head: &[u8]) -> Result<Self, LedgerError> {
        let path = dir.join(file_name(base));
        let make = || -> io::Result<()> {
            let passing = dir.join("next");
            let file = File::create(&passing)?;
            file.write_all_at(head, 0)?;
            file.sync_all()?;
            fs::rename(&passing, &path)?;
            File::open(dir)?.sync_all()
        };
        make().map_err(|source| LedgerError::Io { path, source })?;
        Self::open(dir, base)
    }

    pub(super) fn open(dir: &Path, base: u64) -> Result<Self, LedgerError> {
        let path = dir.join(file_name(base));
        let open = || {
            let file = OpenOptions::new().read(true).write(true).open(&path)?;
            let length = file.metadata()?.len();
            Ok((file, length))
        };
        match open() {
            Ok((file, length)) => Ok(Self { path, base, length, file }),
            Err(source) => Err(LedgerError::Io { path, source }),
        }
    }

    pub(super) fn read(&self) -> Result<Vec<u8>, LedgerError> {
        let mut bytes = vec![0; self.length as usize];
        self.file.read_exact_at(&mut bytes, 0).map_err(|source| self.error(source))?;
        Ok(bytes)
    }

    /// Reads the newest file. What follows its last whole record is cut; what remains is written again and synced,
    /// because after a failed sync the page cache shows what the disk does not have.
    pub(super) fn read_cutting_torn_tail(&mut self) -> Result<Vec<u8>, LedgerError> {
        let mut bytes = self.read()?;
        let whole = whole_bytes(&bytes);
        if let Err((byte, source)) = no_record_within(&bytes, whole) {
            return Err(LedgerError::Damaged { path: self.path.clone(), byte, source });
        }
        bytes.truncate(whole);
        let settle = || {
            self.file.set_len(whole as u64)?;
            self.file.write_all_at(&bytes, 0)?;
            self.file.sync_all()
        };
        settle().map_err(|source| self.error(source))?;
        self.length = whole as u64;
        Ok(bytes)
    }

    pub(super) fn append(&mut self, record: &[u8]) -> Result<(), LedgerError> {
        self.file.write_all_at(record, self.length).map_err(|source| self.error(source))?;
        self.length += record.len() as u64;
        Ok(())
    }

    pub(super) fn sync(&self) -> Result<(), LedgerError> {
        self.file.sync_data().map_err(|source| self.error(source))
    }

    /// The clock of the batch that the file begins with.
    pub(super) fn clock_at_start(&self) -> Result<i64, LedgerError> {
        let mut bytes = vec![0; self.length.min(64 * 1024) as usize];
        self.file.read_exact_at(&mut bytes, 0).map_err(|source| self.error(source))?;
        for (_, _, framed) in records(&bytes, &self.path).take(2) {
            if let Record::Batch(batch) = framed?.record {
                return Ok(batch.clock_ms);
            }
        }
        Err(LedgerError::Damaged { path: self.path.clone(), byte: 0, source: DecodeError::Short })
    }

    /// The newest bucket of its entries; `None` where it has none.
    pub(super) fn newest_bucket(&self) -> Result<Option<Bucket>, LedgerError> {
        let bytes = self.read()?;
        let mut newest = None;
        for (_, _, framed) in records(&bytes, &self.path) {
            if let Record::Batch(batch) = framed?.record {
                newest = newest.max(batch.entries.iter().map(|(_, bucket)| bucket).max());
            }
        }
        Ok(newest)
    }

    fn error(&self, source: io::Error) -> LedgerError {
        LedgerError::Io { path: self.path.clone(), source }
    }
}

/// Each record with its place in `bytes`; ends behind the first that is damaged.
pub(super) fn records<'a>(
    bytes: &'a [u8],
    path: &'a Path,
) -> impl Iterator<Item = (u64, &'a [u8], Result<Framed<'a>, LedgerError>)> {
    let mut next = 0;
    std::iter::from_fn(move || {
        let rest = bytes.get(next..).filter(|rest| !rest.is_empty())?;
        let start = next as u64;
        let damaged = |source| LedgerError::Damaged { path: path.to_owned(), byte: start, source };
        match record_bytes(rest).and_then(|length| Ok((&rest[..length], Framed::decode(&rest[..length])?))) {
            Ok((encoded, framed)) => {
                next += encoded.len();
                Some((start, encoded, Ok(framed)))
            }
            Err(source) => {
                next = bytes.len();
                Some((start, rest, Err(damaged(source))))
            }
        }
    })
}

/// Bytes up to the first record that is not whole.
fn whole_bytes(bytes: &[u8]) -> usize {
    let mut end = 0;
    while let Ok(length) = record_bytes(&bytes[end..]) {
        if Framed::decode(&bytes[end..end + length]).is_err() {
            break;
        }
        end += length;
    }
    end
}

/// A torn write leaves nothing whole behind it; a damaged record does. Says which of the two is at `whole`.
fn no_record_within(bytes: &[u8], whole: usize) -> Result<(), (u64, DecodeError)> {
    let rest = &bytes[whole..];
    for start in 1..rest.len().saturating_sub(MAGIC.len()) {
        let candidate = &rest[start..];
        if candidate.starts_with(&MAGIC)
            && record_bytes(candidate).is_ok_and(|length| Framed::decode(&candidate[..length]).is_ok())
        {
            let cause = record_bytes(rest).and_then(|length| Framed::decode(&rest[..length]).map(|_| ()));
            return Err((whole as u64, cause.err().unwrap_or(DecodeError::Checksum)));
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_and_offsets_invert() {
        for base in [0, 7, u64::MAX] {
            assert_eq!(file_offset(Path::new(&file_name(base))), Some(base));
        }
        for foreign in ["7.ledger", "next", "00000000000000000007.ndjson", "+0000000000000000007.ledger"] {
            assert_eq!(file_offset(Path::new(foreign)), None, "{foreign}");
        }
    }
}
