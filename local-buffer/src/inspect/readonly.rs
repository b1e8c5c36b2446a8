//! A storage that cannot be written, whoever asks: what an inspector works on.

use std::any::Any;
use std::io;
use std::sync::Arc;

use crate::storage::{Access, File, InUse, Storage, WritePath};

/// Passes on what reads, and refuses all else.
pub(super) struct ReadOnly(pub(super) Arc<dyn Storage>);

fn refuse<T>() -> io::Result<T> {
    Err(io::Error::new(io::ErrorKind::PermissionDenied, "an inspector changes nothing"))
}

impl Storage for ReadOnly {
    fn create_dir(&self, _: &str) -> io::Result<()> {
        refuse()
    }

    fn list(&self, dir: &str) -> io::Result<Vec<(String, u64)>> {
        self.0.list(dir)
    }

    fn open(&self, name: &str, access: Access) -> io::Result<Box<dyn File>> {
        if access == Access::Read { self.0.open(name, access) } else { refuse() }
    }

    fn rename(&self, _: &str, _: &str) -> io::Result<()> {
        refuse()
    }

    fn remove(&self, _: &str) -> io::Result<()> {
        refuse()
    }

    fn sync_dir(&self, _: &str) -> io::Result<()> {
        refuse()
    }

    fn lock(&self, _: &str) -> io::Result<Option<Box<dyn Any + Send + Sync>>> {
        refuse()
    }

    fn free_bytes(&self) -> io::Result<u64> {
        self.0.free_bytes()
    }

    fn in_use(&self, name: &str) -> InUse {
        self.0.in_use(name)
    }

    fn write_path(&self, user: &InUse, folder: &str, sample: Option<&str>) -> WritePath {
        self.0.write_path(user, folder, sample)
    }
}
