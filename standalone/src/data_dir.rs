//! The data folder: one process at a time.

use std::fs::{self, File};
use std::path::Path;

use rustix::fs::{FlockOperation, flock};
use service::Failure;

/// Holds the folder; let go of when dropped, and by the kernel when the process ends, however it ends.
#[derive(Debug)]
pub struct DataDir {
    _lock: File,
}

impl DataDir {
    /// Makes the folder where it is missing and locks it.
    ///
    /// # Errors
    /// Where it cannot be made, or another process holds it.
    pub fn lock(path: &Path) -> Result<Self, Failure> {
        let cannot = |error: std::io::Error| Failure::failed(format!("data folder {}: {error}", path.display()));
        fs::create_dir_all(path).map_err(cannot)?;
        let lock = File::create(path.join("lock")).map_err(cannot)?;
        flock(&lock, FlockOperation::NonBlockingLockExclusive).map_err(|_| {
            Failure::failed(format!(
                "data folder {} is in use by another turnstile; stop it, or give this one its own with TURNSTILE_DATA",
                path.display()
            ))
        })?;
        Ok(Self { _lock: lock })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_second_one_is_refused_until_the_first_is_gone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("data");
        let first = DataDir::lock(&path).unwrap();
        assert!(DataDir::lock(&path).unwrap_err().to_string().contains("in use"));
        drop(first);
        DataDir::lock(&path).unwrap();
    }
}
