//! The file of a counter (all integers little-endian): u8 version, 16 bytes of log id, u64 seed, u64 next offset, i32
//! leader epoch, u64 checksum of the record before it, u64 count, u64 sum, u64 XXH3-64 over everything before it.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use changelog::{LogId, Mistrust, Point};
use xxhash_rust::xxh3::xxh3_64;

use super::record::take;
use super::{CounterError, Sum};

/// Format version that this program writes.
const VERSION: u8 = 1;

pub(super) fn path(dir: &Path) -> PathBuf {
    dir.join("sum")
}

/// What is in it.
pub(super) struct Kept {
    pub(super) log: LogId,
    pub(super) seed: u64,
    pub(super) applied: Point,
    pub(super) sum: Sum,
}

impl Kept {
    /// Whole or not at all.
    pub(super) fn write(&self, path: &Path) -> io::Result<()> {
        let new = path.with_extension("new");
        let mut file = File::create(&new)?;
        file.write_all(&self.encode())?;
        file.sync_all()?;
        fs::rename(&new, path)
    }

    /// `None` where there is none.
    pub(super) fn read(path: &Path) -> Result<Option<Self>, CounterError> {
        let bytes = match fs::read(path) {
            Ok(bytes) => bytes,
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        if bytes.first().is_some_and(|version| *version > VERSION) {
            return Err(CounterError::Untrue(Mistrust::NewerFormat("a newer program wrote it".into())));
        }
        let damaged = || CounterError::Untrue(Mistrust::Damaged("its checksum does not match its bytes".into()));
        Self::decode(&bytes).ok_or_else(damaged).map(Some)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        out.extend_from_slice(&self.log.0);
        out.extend_from_slice(&self.seed.to_le_bytes());
        out.extend_from_slice(&self.applied.next_offset.to_le_bytes());
        out.extend_from_slice(&self.applied.leader_epoch.to_le_bytes());
        out.extend_from_slice(&self.applied.checksum.to_le_bytes());
        out.extend_from_slice(&self.sum.count.to_le_bytes());
        out.extend_from_slice(&self.sum.sum.to_le_bytes());
        let checksum = xxh3_64(&out);
        out.extend_from_slice(&checksum.to_le_bytes());
        out
    }

    fn decode(bytes: &[u8]) -> Option<Self> {
        let (mut body, checksum) = bytes.split_last_chunk()?;
        if xxh3_64(body) != u64::from_le_bytes(*checksum) {
            return None;
        }
        let rest = &mut body;
        let [_] = take(rest)?;
        Some(Self {
            log: LogId(take(rest)?),
            seed: u64::from_le_bytes(take(rest)?),
            applied: Point {
                next_offset: u64::from_le_bytes(take(rest)?),
                leader_epoch: i32::from_le_bytes(take(rest)?),
                checksum: u64::from_le_bytes(take(rest)?),
            },
            sum: Sum { count: u64::from_le_bytes(take(rest)?), sum: u64::from_le_bytes(take(rest)?) },
        })
    }
}
