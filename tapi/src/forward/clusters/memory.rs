//! The partition count that this host has used from its first contact on, remembered beside the buffer.
//!
//! A messageId's repeats meet their first one only if all of them go to the same partition, on both clusters and for
//! the whole window. So the count is never taken from a cluster again once it is known.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};

use wire::PartitionCount;

use crate::forward::error::DrainError;

/// Name of the file: the count as decimal text and a newline.
const FILE: &str = "partitions";
/// The file on its way.
const PASSING: &str = "partitions.tmp";

/// The file.
#[derive(Debug)]
pub(crate) struct Memory {
    dir: PathBuf,
    count: Option<PartitionCount>,
}

impl Memory {
    /// Reads it; a directory without one has had no contact yet.
    ///
    /// # Errors
    /// Where it cannot be read, or holds no count.
    pub(crate) fn open(dir: &Path) -> Result<Self, DrainError> {
        let path = dir.join(FILE);
        let count = match fs::read_to_string(&path) {
            Ok(text) => Some(parse(&text).ok_or_else(|| DrainError::Memory {
                path,
                source: io::Error::new(io::ErrorKind::InvalidData, "holds no partition count"),
            })?),
            Err(error) if error.kind() == io::ErrorKind::NotFound => None,
            Err(source) => return Err(DrainError::Memory { path, source }),
        };
        Ok(Self { dir: dir.into(), count })
    }

    /// What is remembered.
    pub(crate) fn count(&self) -> Option<PartitionCount> {
        self.count
    }

    /// Remembers the first count for good; durable on return. A later one changes nothing.
    ///
    /// # Errors
    /// Where it cannot be written; nothing is remembered then.
    pub(crate) fn remember(&mut self, count: PartitionCount) -> Result<(), DrainError> {
        if self.count.is_some() {
            return Ok(());
        }
        let (passing, path) = (self.dir.join(PASSING), self.dir.join(FILE));
        let write = || {
            let mut file = File::create(&passing)?;
            writeln!(file, "{}", count.get())?;
            file.sync_all()?;
            fs::rename(&passing, &path)?;
            File::open(&self.dir)?.sync_all()
        };
        write().map_err(|source| DrainError::Memory { path: path.clone(), source })?;
        self.count = Some(count);
        Ok(())
    }
}

fn parse(text: &str) -> Option<PartitionCount> {
    PartitionCount::try_new(text.strip_suffix('\n')?.parse().ok()?)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_count_is_remembered_for_good() {
        let dir = tempfile::tempdir().unwrap();
        let count = |count| PartitionCount::try_new(count).unwrap();
        let mut memory = Memory::open(dir.path()).unwrap();
        assert_eq!(memory.count(), None);
        memory.remember(count(8)).unwrap();
        memory.remember(count(9)).unwrap();
        assert_eq!(memory.count(), Some(count(8)));
        assert_eq!(Memory::open(dir.path()).unwrap().count(), Some(count(8)));
        assert_eq!(fs::read_to_string(dir.path().join(FILE)).unwrap(), "8\n");
    }

    #[test]
    fn a_file_that_holds_no_count_is_refused_by_name() {
        let dir = tempfile::tempdir().unwrap();
        for text in ["", "8", "0\n", "x\n", "-1\n"] {
            fs::write(dir.path().join(FILE), text).unwrap();
            let error = Memory::open(dir.path()).unwrap_err().to_string();
            assert!(error.contains("partitions: holds no partition count"), "{text:?}: {error}");
        }
    }
}
