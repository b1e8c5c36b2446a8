//! The way in for whoever looks at a buffer.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use super::error::InspectError;
use super::overview::Overview;
use super::quarantine::QuarantineFiles;
use super::readonly::ReadOnly;
use super::records::{Records, Start};
use super::snapshot::{Snapshot, list};
use super::verify::{Progress, Verification, verify};
use super::{Damage, places};
use crate::floor::FLOOR_FILE;
use crate::meta::META_FILE;
use crate::quarantine::QUARANTINE_DIR;
use crate::recovery::DirectoryCase;
use crate::storage::{Disk, Storage};

/// Looks at a buffer without taking its lock and without changing anything, while a process uses it or while none does.
pub struct Inspector {
    storage: Arc<dyn Storage>,
}

impl Inspector {
    /// Looks whether there is a buffer in the directory.
    ///
    /// # Errors
    /// [`InspectError::NotFound`], [`InspectError::NoBuffer`], [`InspectError::NewerVersion`], or a file that cannot be
    /// read. Never because of damage.
    pub fn open(dir: impl AsRef<Path>) -> Result<Self, InspectError> {
        let dir = dir.as_ref();
        Self::open_on(Arc::new(Disk::traceless(dir.to_path_buf())), dir)
    }

    pub(super) fn open_on(storage: Arc<dyn Storage>, dir: &Path) -> Result<Self, InspectError> {
        let storage: Arc<dyn Storage> = Arc::new(ReadOnly(storage));
        match storage.list("") {
            Ok(_) => {}
            Err(error) if error.kind() == io::ErrorKind::NotFound => {
                return Err(InspectError::NotFound { dir: dir.to_path_buf() });
            }
            Err(error) => return Err(InspectError::io("list", &dir.display().to_string())(error)),
        }
        let snapshot = Snapshot::take(&*storage)?;
        let quarantine = list(&*storage, QUARANTINE_DIR).map_err(InspectError::io("list", QUARANTINE_DIR))?;
        if snapshot.directory == DirectoryCase::Fresh && quarantine.is_empty() {
            return Err(InspectError::NoBuffer { dir: dir.to_path_buf(), nearby: nearby(&*storage, dir) });
        }
        Ok(Self { storage })
    }

    /// Figures of the buffer as it is now. Reads headers and a few blocks, however large it is.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn overview(&self) -> Result<Overview, InspectError> {
        Overview::of(&self.storage, &Snapshot::take(&*self.storage)?)
    }

    /// Reads everything that counts, with every checksum; `on_damage` hears each piece of damage, `on_progress` how far
    /// it has come, about every 8 MiB. Takes the same memory whatever the size.
    ///
    /// # Errors
    /// A file that cannot be read for another reason than damage. Damage is no error.
    pub fn verify(
        &self,
        on_damage: &mut dyn FnMut(&Damage),
        on_progress: &mut dyn FnMut(Progress),
    ) -> Result<Verification, InspectError> {
        verify(&self.storage, &Snapshot::take(&*self.storage)?, on_damage, on_progress)
    }

    /// The records, in order. What is appended while they are read may or may not be among them.
    ///
    /// # Errors
    /// A file that cannot be read.
    pub fn records(&self, start: Start) -> Result<Records, InspectError> {
        let snapshot = Snapshot::take(&*self.storage)?;
        Records::start(Arc::clone(&self.storage), &snapshot, start)
    }

    /// What was set aside, file by file.
    ///
    /// # Errors
    /// If the folder cannot be read.
    pub fn quarantine(&self) -> Result<QuarantineFiles, InspectError> {
        QuarantineFiles::list(Arc::clone(&self.storage))
    }
}

/// A buffer one level below, as in the data folder of a program that keeps other things beside it.
fn nearby(storage: &dyn Storage, dir: &Path) -> Option<PathBuf> {
    let is_buffer = |folder: &str| {
        let files = storage.list(folder).unwrap_or_default();
        files.iter().any(|(name, _)| name == META_FILE || name == FLOOR_FILE)
    };
    places::LIKELY_FOLDERS.iter().find(|folder| is_buffer(folder)).map(|folder| dir.join(folder))
}
