//! What is on a simulated disk, and what of it is safe. Values only; a clone is a snapshot.

use std::collections::BTreeMap;
use std::ops::Range;
use std::sync::Arc;

/// A file's content as programs see it, and as the disk has it.
#[derive(Clone, Default)]
pub(crate) struct Inode {
    pub(super) seen: Arc<Vec<u8>>,
    pub(super) disk: Arc<Vec<u8>>,
    /// Writes that are seen, and that the next sync makes safe: place and bytes, in order.
    pub(super) unsynced: Vec<(usize, Arc<Vec<u8>>)>,
    /// Places that cannot be read.
    pub(super) bad: Vec<Range<usize>>,
}

/// A change of a name that its folder's next sync makes safe.
#[derive(Clone, Debug)]
pub(crate) enum NameChange {
    Link { name: String, file: usize },
    Unlink { name: String, file: usize },
    Rename { from: String, to: String, file: usize },
}

/// Everything on the disk.
#[derive(Clone, Default)]
pub(crate) struct State {
    pub(super) files: Vec<Inode>,
    pub(super) names: BTreeMap<String, usize>,
    pub(super) durable_names: BTreeMap<String, usize>,
    pub(super) changes: Vec<NameChange>,
}

/// The folder that a name lies in.
pub(super) fn folder(name: &str) -> &str {
    name.rsplit_once('/').map_or("", |(folder, _)| folder)
}

pub(super) fn put_at(bytes: &mut Vec<u8>, at: usize, piece: &[u8]) {
    if bytes.len() < at + piece.len() {
        bytes.resize(at + piece.len(), 0);
    }
    bytes[at..at + piece.len()].copy_from_slice(piece);
}

impl NameChange {
    pub(super) fn apply(&self, names: &mut BTreeMap<String, usize>) {
        let mut unlink = |name: &String, file: usize| {
            if names.get(name) == Some(&file) {
                names.remove(name);
            }
        };
        match self {
            Self::Link { .. } => {}
            Self::Unlink { name, file } => unlink(name, *file),
            Self::Rename { from, file, .. } => unlink(from, *file),
        }
        if let Self::Link { name, file } | Self::Rename { to: name, file, .. } = self {
            names.insert(name.clone(), *file);
        }
    }

    fn folder(&self) -> &str {
        match self {
            Self::Link { name, .. } | Self::Unlink { name, .. } | Self::Rename { to: name, .. } => folder(name),
        }
    }
}

impl Inode {
    fn safe(bytes: Arc<Vec<u8>>) -> Self {
        Self { seen: Arc::clone(&bytes), disk: bytes, unsynced: Vec::new(), bad: Vec::new() }
    }

    /// A write through the page cache, or one past it whose end nobody knows.
    pub(super) fn write(&mut self, at: usize, bytes: Vec<u8>) {
        put_at(Arc::make_mut(&mut self.seen), at, &bytes);
        self.bad.retain(|bad| bad.start < at || at + bytes.len() < bad.end);
        self.unsynced.push((at, Arc::new(bytes)));
    }

    /// A write that is safe.
    pub(super) fn write_through(&mut self, at: usize, bytes: &[u8]) {
        put_at(Arc::make_mut(&mut self.seen), at, bytes);
        put_at(Arc::make_mut(&mut self.disk), at, bytes);
        self.bad.retain(|bad| bad.start < at || at + bytes.len() < bad.end);
        // What failed here earlier cannot come back over it.
        self.unsynced.retain(|(from, write)| *from < at || at + bytes.len() < from + write.len());
    }

    pub(super) fn sync(&mut self) {
        for (at, bytes) in std::mem::take(&mut self.unsynced) {
            put_at(Arc::make_mut(&mut self.disk), at, &bytes);
        }
    }

    /// A sync that fails: of 255 parts, so many reach the disk; the rest is clean, and no later sync writes it.
    pub(super) fn fail_sync(&mut self, reached: u8) {
        let all: usize = self.unsynced.iter().map(|(_, bytes)| bytes.len()).sum();
        let mut left = all * reached as usize / 255 / super::SECTOR_BYTES * super::SECTOR_BYTES;
        for (at, bytes) in std::mem::take(&mut self.unsynced) {
            let part = left.min(bytes.len());
            put_at(Arc::make_mut(&mut self.disk), at, &bytes[..part]);
            left -= part;
        }
    }

    /// The page cache forgets what it need not keep.
    pub(super) fn forget(&mut self) {
        self.seen = Arc::clone(&self.disk);
        for (at, bytes) in &self.unsynced {
            put_at(Arc::make_mut(&mut self.seen), *at, bytes);
        }
    }
}

impl State {
    pub(super) fn file(&self, name: &str) -> Option<&Inode> {
        self.names.get(name).map(|file| &self.files[*file])
    }

    pub(super) fn new_file(&mut self) -> usize {
        self.files.push(Inode::default());
        self.files.len() - 1
    }

    pub(super) fn bytes(&self) -> usize {
        self.names.values().map(|file| self.files[*file].seen.len()).sum()
    }

    pub(super) fn tamper(&mut self, name: &str, change: impl FnOnce(&mut Vec<u8>)) {
        let mut bytes = self.file(name).map(|file| file.seen.to_vec()).unwrap_or_default();
        change(&mut bytes);
        let file = self.names.get(name).copied().unwrap_or_else(|| self.new_file());
        self.files[file] = Inode::safe(Arc::new(bytes));
        self.names.insert(name.to_string(), file);
        self.durable_names.insert(name.to_string(), file);
    }

    pub(super) fn spoil(&mut self, name: &str, bytes: Range<usize>) {
        let file = self.names[name];
        self.files[file].bad.push(bytes);
    }

    pub(super) fn sync_folder(&mut self, dir: &str) {
        for change in std::mem::take(&mut self.changes) {
            if change.folder() == dir { change.apply(&mut self.durable_names) } else { self.changes.push(change) }
        }
    }

    /// The same with everything safe that is seen.
    pub(super) fn all_safe(&self) -> Self {
        Self::of(self.names.iter().map(|(name, file)| (name.clone(), Arc::clone(&self.files[*file].seen))))
    }

    /// A disk with these files, all safe. Two names of one file are two files from then on.
    pub(super) fn of(files: impl Iterator<Item = (String, Arc<Vec<u8>>)>) -> Self {
        let mut state = Self::default();
        for (name, bytes) in files {
            state.names.insert(name, state.files.len());
            state.files.push(Inode::safe(bytes));
        }
        state.durable_names = state.names.clone();
        state
    }
}
