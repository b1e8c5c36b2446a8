//! Records of the quarantine put back into the buffer.
//!
//! A record is appended, and durable, before its file is moved to `quarantine/reinjected/`. Nothing is deleted. A crash
//! in between leaves both, and the next time the record is appended again: it may come twice, it is never lost.

use std::io;
use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::error::InspectError;
use super::fragment::{records_in_bytes, records_in_segment};
use super::inspector::Inspector;
use super::places::{REINJECTED_DIR, in_quarantine};
use super::quarantine::{Depth, QuarantineCheck, QuarantineFile, QuarantineKind, read};
use super::readonly::ReadOnly;
use super::snapshot::{Snapshot, list};
use super::workplace;
use crate::append::{Appender, Pending};
use crate::error::AppendError;
use crate::format::BLOCK_BYTES;
use crate::id::RecordId;
use crate::open::LOCK_FILE;
use crate::options::GROUP_BYTES_MAX;
use crate::quarantine::{DAMAGE_PIECE_BYTES, Item, QUARANTINE_DIR};
use crate::queue::Queue;
use crate::slot::Slot;
use crate::storage::{Access, Disk, Storage};
use crate::survey::read_slots;

/// Files are moved when so many wait for it: one sync of two folders for all of them.
const FILES_AT_ONCE: usize = 256;
/// How long a disk that is behind is waited for, in all, for one record.
const BUSY_MAX: Duration = Duration::from_secs(30);
const BUSY_STEP: Duration = Duration::from_millis(1);
/// Names tried for a file whose name is taken in `quarantine/reinjected/`.
const NAMES_MAX: u32 = 1000;

/// What is to be put back.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reinjection {
    /// Names of files in the quarantine; `None` for all of them.
    pub files: Option<Vec<String>>,
    /// Also whole records inside damaged bytes and inside segments that were set aside. Nobody knows which of them were
    /// drained already.
    pub salvage: bool,
}

/// What became of a file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FileOutcome {
    /// Its records are in the buffer again.
    Reinjected {
        /// Its name.
        file: String,
        /// How many they are.
        records: u64,
        /// The id that the first of them has now; the others follow.
        first: RecordId,
        /// Records in it that were not wanted.
        refused_records: u64,
        /// Where it is now, relative to the directory.
        moved_to: String,
    },
    /// It lies where it was.
    Refused {
        /// Its name.
        file: String,
        /// Why.
        reason: String,
    },
    /// It holds no record by itself, and was not asked for by name.
    Skipped {
        /// Its name.
        file: String,
    },
}

/// What a reinjection did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Reinjected {
    /// Files whose records are in the buffer again.
    pub files: u64,
    /// Those records.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Files that were refused.
    pub refused: u64,
    /// Files that hold no record by themselves.
    pub skipped: u64,
}

impl Reinjection {
    /// Does it. `accept` says of each record whether it is wanted, or why not; `on_file` hears what became of each file.
    ///
    /// # Errors
    /// [`InspectError::InUse`] while a process has the directory open; a file that cannot be read or written; a full
    /// disk. What `on_file` was told is so in any case.
    pub fn run(
        &self,
        dir: impl AsRef<Path>,
        accept: &mut dyn FnMut(&[u8]) -> Result<(), String>,
        on_file: &mut dyn FnMut(&FileOutcome),
    ) -> Result<Reinjected, InspectError> {
        let dir = dir.as_ref();
        self.run_on(&(Arc::new(Disk::new(dir.to_path_buf())) as Arc<dyn Storage>), dir, accept, on_file)
    }

    pub(super) fn run_on(
        &self,
        storage: &Arc<dyn Storage>,
        dir: &Path,
        accept: &mut dyn FnMut(&[u8]) -> Result<(), String>,
        on_file: &mut dyn FnMut(&FileOutcome),
    ) -> Result<Reinjected, InspectError> {
        workplace::refuse_in_use(storage, dir)?;
        Inspector::open_on(Arc::clone(storage), dir)?;
        let mut files = list(&**storage, QUARANTINE_DIR).map_err(InspectError::io("list", QUARANTINE_DIR))?;
        files.retain(|(name, _)| name.strip_suffix(".tmp").is_none());
        let mut absent = Vec::new();
        if let Some(wanted) = &self.files {
            absent = wanted.iter().filter(|name| files.iter().all(|(there, _)| there != *name)).cloned().collect();
            files.retain(|(name, _)| wanted.contains(name));
        }
        // A record takes its own bytes and at most the padding of a group of its own.
        let room = files.iter().map(|(_, bytes)| bytes + bytes / 32 + 2 * BLOCK_BYTES as u64).sum();
        let options = workplace::options(&Snapshot::take(&ReadOnly(Arc::clone(storage)))?, room);
        let user = storage.in_use(LOCK_FILE);
        let opened = Queue::open_on(storage, dir, &options);
        let (queue, _) = opened.map_err(|error| InspectError::opening(error, &user))?;
        storage.create_dir(REINJECTED_DIR).map_err(InspectError::io("create", REINJECTED_DIR))?;
        let mut work = Work {
            storage: Arc::clone(storage),
            appender: queue.appender(),
            by_name: self.files.is_some(),
            salvage: self.salvage,
            last: None,
            waiting: Vec::new(),
            done: Reinjected::default(),
        };
        for name in absent {
            work.refuse(name, "there is no such file in the quarantine".into(), on_file);
        }
        for (name, bytes) in files {
            work.file(name, bytes, accept, on_file)?;
        }
        work.settle(on_file)?;
        let done = work.done;
        drop(work);
        queue.close().map_err(|error| InspectError::Work(error.to_string()))?;
        Ok(done)
    }
}

/// A reinjection under way.
struct Work {
    storage: Arc<dyn Storage>,
    appender: Appender,
    by_name: bool,
    salvage: bool,
    /// The last record that was appended.
    last: Option<Pending>,
    /// Files whose records were appended and may not be durable yet.
    waiting: Vec<Appended>,
    done: Reinjected,
}

struct Appended {
    file: String,
    records: u64,
    bytes: u64,
    refused_records: u64,
    first: RecordId,
}

/// Why a file's records were not all appended.
enum Stop {
    /// They cannot be: the file stays.
    Refused(String),
    /// Nothing can be: the work ends.
    Failed(InspectError),
}

impl From<io::Error> for Stop {
    fn from(error: io::Error) -> Self {
        Self::Refused(format!("it cannot be read: {error}"))
    }
}

impl Work {
    fn file(
        &mut self,
        name: String,
        bytes: u64,
        accept: &mut dyn FnMut(&[u8]) -> Result<(), String>,
        on_file: &mut dyn FnMut(&FileOutcome),
    ) -> Result<(), InspectError> {
        let mut content = Vec::new();
        let file = match read(&*self.storage, (&name, bytes), &mut Depth::Content(&mut content)) {
            Ok(file) => file,
            Err(error) => {
                self.refuse(name, format!("it cannot be read: {error}"), on_file);
                return Ok(());
            }
        };
        let is_record = matches!(file.kind, QuarantineKind::Record { .. });
        if !is_record && !self.salvage && !self.by_name {
            self.done.skipped += 1;
            on_file(&FileOutcome::Skipped { file: name });
            return Ok(());
        }
        let mut appended = Appended { file: name, records: 0, bytes: 0, refused_records: 0, first: RecordId::ZERO };
        match self.append_file(&file, content, &mut appended, accept) {
            Ok(()) => self.waiting.push(appended),
            Err(Stop::Failed(error)) => return Err(error),
            Err(Stop::Refused(reason)) => self.refuse(appended.file, reason, on_file),
        }
        if self.waiting.len() >= FILES_AT_ONCE { self.settle(on_file) } else { Ok(()) }
    }

    fn append_file(
        &mut self,
        file: &QuarantineFile,
        mut content: Vec<u8>,
        appended: &mut Appended,
        accept: &mut dyn FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), Stop> {
        match file.check {
            QuarantineCheck::Damaged => return Err(Stop::Refused("it is damaged: its checksum does not hold".into())),
            QuarantineCheck::Newer(version) => {
                return Err(Stop::Refused(format!("it has format version {version}: use the program that wrote it")));
            }
            QuarantineCheck::NotChecked | QuarantineCheck::Whole => {}
        }
        let (generation, offset) = match file.kind {
            QuarantineKind::Record { .. } => {
                accept(&content).map_err(Stop::Refused)?;
                return self.append(&content, appended);
            }
            QuarantineKind::Unknown => return Err(Stop::Refused("no buffer wrote it".into())),
            _ if !self.salvage => return Err(Stop::Refused("it holds no record by itself".into())),
            QuarantineKind::Segment => {
                self.append_segment(file, appended, accept)?;
                return found_some(appended);
            }
            QuarantineKind::Damage { generation, offset } => (generation, offset),
        };
        let own_end = offset + content.len() as u64;
        self.add_following(generation, own_end, &mut content);
        let Some(instance) = file.instance else { return Err(Stop::Refused("it does not name its buffer".into())) };
        records_in_bytes(&content, (instance, generation, offset), |at, record| {
            // One that begins in the next piece is found there.
            if at < own_end { self.append_wanted(record, appended, accept) } else { Ok(()) }
        })?;
        found_some(appended)
    }

    /// Adds the pieces of the same damage that lie behind this one, as far as a record may reach into them.
    fn add_following(&self, generation: u64, mut end: u64, content: &mut Vec<u8>) {
        let most = content.len() + GROUP_BYTES_MAX;
        let mut whole = content.len() == DAMAGE_PIECE_BYTES;
        while whole && content.len() < most {
            let name = Item::Damage { generation, offset: end }.file_name();
            let Ok(names) = self.storage.list(QUARANTINE_DIR) else { return };
            let Some((name, bytes)) = names.into_iter().find(|(there, _)| *there == name) else { return };
            let mut piece = Vec::new();
            let file = read(&*self.storage, (&name, bytes), &mut Depth::Content(&mut piece));
            if !file.is_ok_and(|file| file.check == QuarantineCheck::Whole) {
                return;
            }
            whole = piece.len() == DAMAGE_PIECE_BYTES;
            end += piece.len() as u64;
            content.append(&mut piece);
        }
    }

    fn append_segment(
        &mut self,
        file: &QuarantineFile,
        appended: &mut Appended,
        accept: &mut dyn FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), Stop> {
        let opened = self.storage.open(&in_quarantine(&file.name), Access::Read)?;
        let slots = read_slots(&*opened);
        let Some(header) = slots.iter().filter_map(Slot::good).max_by_key(|header| header.sequence) else {
            return Err(Stop::Refused("neither of its headers is good".into()));
        };
        let place = (header.instance, header.generation);
        records_in_segment(opened, place, file.bytes, |_, record| self.append_wanted(record, appended, accept))?;
        Ok(())
    }

    fn append_wanted(
        &mut self,
        record: &[u8],
        appended: &mut Appended,
        accept: &mut dyn FnMut(&[u8]) -> Result<(), String>,
    ) -> Result<(), Stop> {
        if accept(record).is_err() {
            appended.refused_records += 1;
            return Ok(());
        }
        self.append(record, appended)
    }

    fn append(&mut self, record: &[u8], appended: &mut Appended) -> Result<(), Stop> {
        let begun = Instant::now();
        let pending = loop {
            match self.appender.append(record) {
                Ok(pending) => break pending,
                Err(AppendError::Busy) if begun.elapsed() < BUSY_MAX => std::thread::sleep(BUSY_STEP),
                Err(error @ AppendError::TooLarge { .. }) => return Err(Stop::Refused(error.to_string())),
                Err(error) => return Err(Stop::Failed(InspectError::Work(error.to_string()))),
            }
        };
        if appended.records == 0 {
            appended.first = pending.first();
        }
        appended.records += 1;
        appended.bytes += record.len() as u64;
        self.last = Some(pending);
        Ok(())
    }

    /// Waits until everything that was appended is durable, and moves the files that it came from.
    fn settle(&mut self, on_file: &mut dyn FnMut(&FileOutcome)) -> Result<(), InspectError> {
        if let Some(last) = self.last.take() {
            last.wait(&self.appender).map_err(|error| InspectError::Work(error.to_string()))?;
        }
        let mut outcomes = Vec::new();
        for Appended { file, records, bytes, refused_records, first } in self.waiting.drain(..) {
            let moved_to = free_name(&*self.storage, &file)?;
            let from = in_quarantine(&file);
            self.storage.rename(&from, &moved_to).map_err(InspectError::io("move", &from))?;
            self.done.files += 1;
            self.done.records += records;
            self.done.bytes += bytes;
            outcomes.push(FileOutcome::Reinjected { file, records, first, refused_records, moved_to });
        }
        if !outcomes.is_empty() {
            // First the new name, then the old one's end: a crash leaves at least one of them.
            for folder in [REINJECTED_DIR, QUARANTINE_DIR] {
                self.storage.sync_dir(folder).map_err(InspectError::io("sync", folder))?;
            }
        }
        outcomes.iter().for_each(on_file);
        Ok(())
    }

    fn refuse(&mut self, file: String, reason: String, on_file: &mut dyn FnMut(&FileOutcome)) {
        self.done.refused += 1;
        on_file(&FileOutcome::Refused { file, reason });
    }
}

fn found_some(appended: &Appended) -> Result<(), Stop> {
    match (appended.records, appended.refused_records) {
        (0, 0) => Err(Stop::Refused("no whole record was found in it".into())),
        (0, refused) => Err(Stop::Refused(format!("{refused} whole records were found in it, none of them wanted"))),
        _ => Ok(()),
    }
}

/// A name in `quarantine/reinjected/` that nothing has: a file of this name may have come back from there before.
fn free_name(storage: &dyn Storage, name: &str) -> Result<String, InspectError> {
    let names = (1..NAMES_MAX).map(|count| match count {
        1 => format!("{REINJECTED_DIR}/{name}"),
        count => format!("{REINJECTED_DIR}/{name}.{count}"),
    });
    for path in names {
        match storage.open(&path, Access::Read) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(path),
            Err(error) => return Err(InspectError::io("open", &path)(error)),
            Ok(_) => {}
        }
    }
    Err(InspectError::Work(format!("{REINJECTED_DIR} holds {name} too many times")))
}
