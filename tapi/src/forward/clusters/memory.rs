//! How many lanes this host has sent its records by, remembered beside the buffer.
//!
//! A messageId's repeats meet their first one only if all of them go to the same lane, on both clusters and for the whole
//! window. So the count is kept from the first record on that a cluster has acknowledged. What was only seen is not kept:
//! a cluster that was met by mistake leaves nothing behind.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use wire::LaneCount;

use crate::forward::error::DrainError;

/// Name of the file: the count as decimal text and a newline.
const FILE: &str = "lanes";
/// The file on its way.
const PASSING: &str = "lanes.tmp";

/// The file.
#[derive(Debug)]
pub(crate) struct Memory {
    dir: PathBuf,
    lanes: Option<LaneCount>,
}

impl Memory {
    /// Reads it; a directory without one has had nothing acknowledged yet.
    ///
    /// # Errors
    /// Where it cannot be read, or holds no count.
    pub(crate) fn open(dir: &Path) -> Result<Self, DrainError> {
        let path = dir.join(FILE);
        let lanes = match fs::read_to_string(&path) {
            Ok(text) => Some(parse(&text).ok_or_else(|| DrainError::Memory {
                path,
                source: io::Error::new(io::ErrorKind::InvalidData, "holds no number of lanes"),
            })?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(DrainError::Memory { path, source }),
        };
        Ok(Self { dir: dir.into(), lanes })
    }

    /// What is remembered.
    pub(crate) fn lanes(&self) -> Option<LaneCount> {
        self.lanes
    }

    /// Remembers the first count for good; durable on return. A later one changes nothing.
    ///
    /// # Errors
    /// Where it cannot be written; nothing is remembered then.
    pub(crate) fn remember(&mut self, lanes: LaneCount) -> Result<(), DrainError> {
        if self.lanes.is_some() {
            return Ok(());
        }
        let (passing, path) = (self.dir.join(PASSING), self.dir.join(FILE));
        let write = || {
            let mut file = File::create(&passing)?;
            writeln!(file, "{}", lanes.get())?;
            file.sync_all()?;
            fs::rename(&passing, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(|source| DrainError::Memory { path: path.clone(), source })?;
        self.lanes = Some(lanes);
        Ok(())
    }
}

fn parse(text: &str) -> Option<LaneCount> {
    LaneCount::try_new(text.strip_suffix('\n')?.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_count_is_remembered_for_good() {
        let dir = tempfile::tempdir().unwrap();
        let count = |count| LaneCount::try_new(count).unwrap();
        let mut memory = Memory::open(dir.path()).unwrap();
        assert_eq!(memory.lanes(), None);
        memory.remember(count(8)).unwrap();
        memory.remember(count(9)).unwrap();
        assert_eq!(memory.lanes(), Some(count(8)));
        assert_eq!(Memory::open(dir.path()).unwrap().lanes(), Some(count(8)));
        assert_eq!(fs::read_to_string(dir.path().join(FILE)).unwrap(), "8\n");
    }

    #[test]
    fn a_file_that_holds_no_count_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "8", "0\n", "x\n", "-1\n", "4097\n"] {
            fs::write(dir.path().join(FILE), text).unwrap();
            let error = Memory::open(dir.path()).unwrap_err().to_string();
            assert!(error.contains("lanes: holds no number of lanes"), "{text:?}: {error}");
        }
    }
}
