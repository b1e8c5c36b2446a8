//! Buffers with events in a temporary directory, and `tapi buffer` on them.

use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};

use local_buffer::{AppendError, Appender, Batch, Options, Pending, Queue, RecordId};
use serde_json::Value;
use tempfile::TempDir;
use wire::envelope::begin_event;
use wire::{MessageId, SourceId};

use crate::binary::{output, tapi};

pub(super) const SEGMENT_BYTES: u64 = 1 << 20;

pub(super) fn options() -> Options {
    Options { segment_bytes: SEGMENT_BYTES, bytes_max: 64 << 20, ..Options::default() }
}

/// The record of an event.
pub(super) fn record(message_id: &str, filler_bytes: usize) -> Vec<u8> {
    let (source, id) = (SourceId::try_new(b"web").unwrap(), MessageId::try_new(message_id.as_bytes()).unwrap());
    let mut record = Vec::new();
    begin_event(&mut record, source, id, 1_700_000_000_123);
    record.extend_from_slice(format!("{{\"event\":\"{message_id}\",\"filler\":\"").as_bytes());
    record.resize(record.len() + filler_bytes, b'x');
    record.extend_from_slice(b"\"}");
    record
}

pub(super) fn append(appender: &Appender, record: &[u8]) -> Pending {
    loop {
        match appender.append(record) {
            Ok(pending) => break pending,
            Err(AppendError::Busy) => std::thread::yield_now(),
            Err(error) => panic!("{error}"),
        }
    }
}

/// A closed buffer with events `m-0`, `m-1`, …; those below `floor` are done, `m-1` in the quarantine.
pub(super) struct Stage {
    root: TempDir,
    pub(super) dir: PathBuf,
}

impl Stage {
    pub(super) fn new(events: u64, floor: u64) -> Self {
        let root = tempfile::tempdir().unwrap();
        let dir = root.path().join("buffer");
        let (mut queue, _) = Queue::open(&dir, options()).unwrap();
        let appender = queue.appender();
        for number in 0..events {
            let pending = append(&appender, &record(&format!("m-{number}"), 500));
            assert_eq!(pending.first().get(), number);
            // Groups of some records, as a server writes them.
            if number % 20 == 19 || number + 1 == events {
                pending.wait(&appender).unwrap();
            }
        }
        let mut reader = queue.take_reader().unwrap();
        let mut batch = Batch::new();
        while floor > 0 && batch.end().is_none_or(|end| end.get() < floor) {
            reader.read(&mut batch, 1, 1).unwrap();
            for (id, bytes) in batch.iter().filter(|(id, _)| id.get() == 1) {
                reader.quarantine(id, bytes, "larger than message.max.bytes").unwrap();
            }
        }
        reader.acknowledge(RecordId::from_u64(floor)).unwrap();
        drop(reader);
        queue.close().unwrap();
        Self { root, dir }
    }

    pub(super) fn root(&self) -> &Path {
        self.root.path()
    }

    /// Runs a command of `tapi buffer` on it.
    pub(super) fn run(&self, command: &str, arguments: &[&str]) -> (i32, String, String) {
        let dir = self.dir.to_str().unwrap();
        output(&mut tapi(&[&["buffer", command, dir], arguments].concat()))
    }

    /// The same, with its JSON.
    pub(super) fn json(&self, command: &str, arguments: &[&str]) -> (i32, Value) {
        let (code, stdout, stderr) = self.run(command, &[arguments, &["--json"]].concat());
        assert_eq!(stdout.lines().count(), 1, "{stdout} {stderr}");
        (code, serde_json::from_str(&stdout).unwrap())
    }

    /// Lines of NDJSON.
    pub(super) fn dump(&self, arguments: &[&str]) -> Vec<Value> {
        let (code, stdout, stderr) = self.run("dump", arguments);
        assert_eq!(code, 0, "{stderr}");
        stdout.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
    }

    /// The segment in which an event lies, and where its bytes begin.
    pub(super) fn place_of(&self, message_id: &str) -> (PathBuf, usize) {
        let wanted = format!("\"event\":\"{message_id}\"");
        for entry in std::fs::read_dir(self.dir.join("segments")).unwrap() {
            let path = entry.unwrap().path();
            let bytes = std::fs::read(&path).unwrap();
            if let Some(at) = bytes.windows(wanted.len()).position(|window| window == wanted.as_bytes()) {
                return (path, at);
            }
        }
        panic!("{message_id} is in no segment");
    }

    /// Flips a bit of an event.
    pub(super) fn damage(&self, message_id: &str) -> (PathBuf, usize) {
        let (path, at) = self.place_of(message_id);
        flip(&path, at);
        (path, at)
    }

    /// Events that a reader gets.
    pub(super) fn delivered(&self) -> Vec<String> {
        let (mut queue, _) = Queue::open(&self.dir, options()).unwrap();
        let mut reader = queue.take_reader().unwrap();
        let (mut batch, mut ids) = (Batch::new(), Vec::new());
        while reader.read(&mut batch, 1000, 1 << 20).unwrap() > 0 {
            ids.extend(batch.iter().map(|(_, bytes)| {
                let envelope = wire::envelope::Envelope::decode(bytes).unwrap();
                String::from_utf8(envelope.message_id().unwrap().as_bytes().to_vec()).unwrap()
            }));
        }
        ids
    }
}

pub(super) fn flip(path: &Path, at: usize) {
    let mut bytes = std::fs::read(path).unwrap();
    bytes[at] ^= 1;
    std::fs::write(path, bytes).unwrap();
}

/// The times of each file's last access and change, and then its bytes: reading them is an access.
pub(super) type Traces = BTreeMap<PathBuf, ([i64; 4], Vec<u8>)>;

/// What a visit could change.
pub(super) fn traces(dir: &Path) -> Traces {
    let times = |meta: &std::fs::Metadata| [meta.atime(), meta.atime_nsec(), meta.mtime(), meta.mtime_nsec()];
    let mut found = BTreeMap::new();
    for entry in std::fs::read_dir(dir).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            found.extend(traces(&path));
        } else {
            let times = times(&std::fs::metadata(&path).unwrap());
            let bytes = std::fs::read(&path).unwrap();
            // The next look is to find the times as this one did.
            set_access_time(&path, times);
            found.insert(path, (times, bytes));
        }
    }
    found
}

fn set_access_time(path: &Path, [access, access_ns, ..]: [i64; 4]) {
    let time = std::time::UNIX_EPOCH + std::time::Duration::new(access as u64, access_ns as u32);
    let file = std::fs::File::options().write(true).open(path).unwrap();
    file.set_times(std::fs::FileTimes::new().set_accessed(time)).unwrap();
}
