//! The directory of an index: whose it is, and the places in it.
//!
//! ```text
//! identity    which changelog this is the index of (64 bytes, STORE.md)
//! store/      RocksDB with the sealed runs
//! sealing/    a run being written; emptied at every open
//! doomed/     a store being removed; removed at every open
//! ```

use std::fs::{self, File};
use std::io::{self, Write};
use std::path::{Path, PathBuf};

use changelog::LogId;
use wire::changelog::Genesis;

use crate::error::IndexError;

const IDENTITY: &str = "identity";
const IDENTITY_NEW: &str = "identity.new";
const STORE: &str = "store";
const SEALING: &str = "sealing";
const DOOMED: &str = "doomed";

/// First four bytes of an identity.
const MAGIC: [u8; 4] = *b"TSIX";
/// Format version that this program writes.
const VERSION: u16 = 1;
/// Bytes of an identity.
const IDENTITY_BYTES: usize = 64;
/// Its facts behind magic and version, in their order, with their bytes.
const FIELDS: [(&str, usize); 7] = [
    ("log id", 16),
    ("lanes", 4),
    ("digest seed", 8),
    ("bucket span", 8),
    ("promised buckets", 4),
    ("margin buckets", 4),
    ("creation time", 8),
];

/// An index's directory, made or recognised.
#[derive(Debug)]
pub(crate) struct Home {
    dir: PathBuf,
    tag: u32,
}

impl Home {
    /// Makes the directory, or checks that it is the index of this changelog.
    pub(crate) fn open(dir: &Path, genesis: &Genesis, log_id: LogId) -> Result<Self, IndexError> {
        let expected = identity(genesis, log_id);
        let home = Self { dir: dir.to_owned(), tag: checksum(&expected) };
        fs::create_dir_all(dir).map_err(io_error("make directory", dir))?;
        match fs::read(dir.join(IDENTITY)) {
            Ok(found) => compare(&expected, &found)?,
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                if home.store().exists() {
                    return Err(IndexError::Damaged("there are runs, but the identity is gone".into()));
                }
                home.write_identity(&expected)?;
            }
            Err(error) => return Err(io_error("read", &dir.join(IDENTITY))(error)),
        }
        remove(&dir.join(DOOMED))?;
        Ok(home)
    }

    /// Empties the place where runs are written. Only for who holds the store's lock.
    pub(crate) fn clear_sealing(&self) -> Result<(), IndexError> {
        remove(&self.dir.join(SEALING))?;
        fs::create_dir(self.dir.join(SEALING)).map_err(io_error("make directory", &self.dir.join(SEALING)))
    }

    /// Checksum of the identity, which every run repeats.
    pub(crate) fn tag(&self) -> u32 {
        self.tag
    }

    pub(crate) fn store(&self) -> PathBuf {
        self.dir.join(STORE)
    }

    /// Where a run is written before it is ingested.
    pub(crate) fn run_file(&self, sequence: u32) -> PathBuf {
        self.dir.join(SEALING).join(format!("{sequence:010}.sst"))
    }

    /// Whole or not at all, and on disk before any run says it belongs to it.
    fn write_identity(&self, bytes: &[u8]) -> Result<(), IndexError> {
        let new = self.dir.join(IDENTITY_NEW);
        let write = || {
            let mut file = File::create(&new)?;
            file.write_all(bytes)?;
            file.sync_all()?;
            fs::rename(&new, self.dir.join(IDENTITY))?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(io_error("write", &new))
    }
}

/// Removes the index in `dir` so that the next open starts with none. A directory that is no index is left alone; one
/// that does not exist is none already.
pub(crate) fn destroy(dir: &Path, is_free: impl FnOnce(&Path) -> Result<(), IndexError>) -> Result<(), IndexError> {
    if !dir.join(IDENTITY).exists() {
        let Ok(mut entries) = fs::read_dir(dir) else { return Ok(()) };
        let known = |name: &std::ffi::OsStr| [IDENTITY_NEW, STORE, SEALING, DOOMED].iter().any(|known| name == *known);
        return match entries.find(|entry| !entry.as_ref().is_ok_and(|entry| known(&entry.file_name()))) {
            None => [STORE, SEALING, DOOMED, IDENTITY_NEW].iter().try_for_each(|name| remove(&dir.join(name))),
            Some(_) => Err(IndexError::Foreign {
                is_log: true,
                field: "content",
                expected: "an index".into(),
                found: "something else".into(),
            }),
        };
    }
    let (store, doomed) = (dir.join(STORE), dir.join(DOOMED));
    if store.exists() {
        is_free(&store)?;
        remove(&doomed)?;
        // In one step: a crash leaves the whole store or none, never one with files missing.
        fs::rename(&store, &doomed).map_err(io_error("rename", &store))?;
    }
    for name in [DOOMED, SEALING, IDENTITY] {
        remove(&dir.join(name))?;
    }
    Ok(())
}

fn remove(path: &Path) -> Result<(), IndexError> {
    let removed = if path.is_dir() { fs::remove_dir_all(path) } else { fs::remove_file(path) };
    match removed {
        Err(error) if error.kind() != io::ErrorKind::NotFound => Err(io_error("remove", path)(error)),
        _ => Ok(()),
    }
}

/// Removes a run file that was not ingested, or that ingesting left behind.
pub(crate) fn remove_run_file(path: &Path) {
    // One that stays is removed at the next open.
    let _ = fs::remove_file(path);
}

fn identity(genesis: &Genesis, log_id: LogId) -> [u8; IDENTITY_BYTES] {
    let mut bytes = [0; IDENTITY_BYTES];
    let mut at = 0;
    let mut put = |field: &[u8]| {
        bytes[at..at + field.len()].copy_from_slice(field);
        at += field.len();
    };
    put(&MAGIC);
    put(&VERSION.to_le_bytes());
    put(&[0; 2]);
    put(&log_id.0);
    put(&genesis.lanes.get().to_le_bytes());
    put(&genesis.seed.0.to_le_bytes());
    put(&genesis.window.bucket_ms().to_le_bytes());
    put(&genesis.window.promised_buckets().to_le_bytes());
    put(&genesis.window.margin_buckets().to_le_bytes());
    put(&genesis.created_ms.to_le_bytes());
    let checksum = checksum(&bytes);
    bytes[IDENTITY_BYTES - 4..].copy_from_slice(&checksum.to_le_bytes());
    bytes
}

/// Of everything before the checksum's own place. (Taken with it, the checksum of any identity would be the same.)
fn checksum(identity: &[u8; IDENTITY_BYTES]) -> u32 {
    crc32c::crc32c(&identity[..IDENTITY_BYTES - 4])
}

fn compare(expected: &[u8; IDENTITY_BYTES], found: &[u8]) -> Result<(), IndexError> {
    let damaged = |what: &str| IndexError::Damaged(format!("the identity has {what}"));
    let found: &[u8; IDENTITY_BYTES] = found.try_into().map_err(|_| damaged("another length"))?;
    if found[..4] != MAGIC || found[IDENTITY_BYTES - 4..] != checksum(found).to_le_bytes() {
        return Err(damaged("a bad checksum"));
    }
    let version = u16::from_le_bytes([found[4], found[5]]);
    if version != VERSION {
        return Err(IndexError::Version(version));
    }
    let mut at = 8;
    for (field, bytes) in FIELDS {
        let (one, other) = (&expected[at..at + bytes], &found[at..at + bytes]);
        if one != other {
            let is_log = field == FIELDS[0].0;
            return Err(IndexError::Foreign { is_log, field, expected: hex(one), found: hex(other) });
        }
        at += bytes;
    }
    Ok(())
}

/// The bytes as one number, most significant digit first: what a little-endian field reads as.
fn hex(little_endian: &[u8]) -> String {
    little_endian.iter().rev().fold(String::from("0x"), |text, byte| format!("{text}{byte:02x}"))
}

fn io_error(operation: &'static str, path: &Path) -> impl FnOnce(io::Error) -> IndexError {
    let path = path.to_owned();
    move |source| IndexError::Io { operation, path, source }
}

#[cfg(test)]
mod tests {
    use wire::{DigestSeed, LaneCount, Window};

    use super::*;

    /// The table in STORE.md, field by field.
    #[test]
    fn bytes_are_those_of_the_document() {
        let genesis = Genesis {
            lanes: LaneCount::try_new(8).unwrap(),
            seed: DigestSeed(9),
            window: Window::try_new(1000, 4, 1).unwrap(),
            created_ms: -2,
        };
        let bytes = identity(&genesis, LogId(*b"sixteen bytes id"));
        let golden = [
            b"TSIX\x01\0\0\0sixteen bytes id".as_slice(),
            b"\x08\0\0\0\x09\0\0\0\0\0\0\0\xe8\x03\0\0\0\0\0\0\x04\0\0\0\x01\0\0\0",
            b"\xfe\xff\xff\xff\xff\xff\xff\xff",
        ]
        .concat();
        assert_eq!(bytes[..IDENTITY_BYTES - 4], golden);
        assert_eq!(bytes[IDENTITY_BYTES - 4..], crc32c::crc32c(&golden).to_le_bytes());
        assert_eq!(8 + FIELDS.iter().map(|(_, bytes)| bytes).sum::<usize>(), IDENTITY_BYTES - 4);
    }

    #[test]
    fn a_number_is_named_as_it_is_read() {
        assert_eq!(hex(&1000_u32.to_le_bytes()), "0x000003e8");
    }
}
