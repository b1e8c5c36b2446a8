//! The data folder: one process at a time.

use std::fs::{self, File};
use std::io;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use rustix::io::Errno;

use crate::exit::Failure;

/// Holds the folder; let go of when dropped, and by the kernel when the process ends, however it ends.
#[derive(Debug)]
pub struct DataDir {
    _lock: File,
}

impl DataDir {
    /// Makes the folder where it is missing and locks it; `None` where another process holds it.
    ///
    /// # Errors
    /// Where it cannot be made or locked.
    pub fn try_lock(path: &Path) -> io::Result<Option<Self>> {
        fs::create_dir_all(path)?;
        let lock = File::create(path.join("lock"))?;
        match flock(&lock, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => Ok(Some(Self { _lock: lock })),
            Err(Errno::WOULDBLOCK) => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    /// The same for a folder that must be had. `program` is what may hold it, `variable` names another folder.
    ///
    /// # Errors
    /// Where it cannot be made, or another process holds it.
    pub fn lock(path: &Path, program: &str, variable: &str) -> Result<Self, Failure> {
        Self::try_lock(path).map_err(|error| Self::cannot(path, &error))?.ok_or_else(|| {
            Failure::failed(format!(
                "data folder {} is in use by another {program}; stop it, or give this one its own with {variable}",
                path.display()
            ))
        })
    }

    /// What a folder that cannot be made or locked ends the process with.
    pub fn cannot(path: &Path, error: &io::Error) -> Failure {
        Failure::failed(format!("data folder {}: {error}", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_refused_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let lock = || DataDir::lock(&path, "turnstile", "TURNSTILE_DATA");
        let first = lock().unwrap();
        let refused = lock().unwrap_err().to_string();
        assert!(refused.contains("in use by another turnstile") && refused.contains("TURNSTILE_DATA"), "{refused}");
        assert!(DataDir::try_lock(&path).unwrap().is_none());
        drop(first);
        lock().unwrap();
        fs::remove_dir_all(&path).unwrap();
        fs::write(&path, b"").unwrap();
        assert!(lock().unwrap_err().to_string().contains("data folder"));
    }
}
