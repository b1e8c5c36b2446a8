//! Somebody who tails the output: reads every complete line once, as soon as it is there, and acts on it for good.
//!
//! Such a reader shows what a look at the finished files cannot: a line that was there, was read, and was taken back or
//! written again after a crash. It keeps a chain of hashes over what it read of each file and compares it with the file
//! at the end.

use std::collections::{BTreeMap, HashSet};
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use crate::output::{self, Event};

/// Between two looks, as a tailing program would.
const POLL: Duration = Duration::from_millis(10);

/// A thread that tails a folder.
#[derive(Debug)]
pub struct Follower {
    end: Arc<AtomicBool>,
    thread: JoinHandle<Tail>,
}

/// What a follower has read.
#[derive(Debug, Default)]
pub struct Tail {
    /// Complete lines.
    pub lines: u64,
    /// Identities seen: source and messageId.
    pub identities: HashSet<(String, String)>,
    /// What must not happen, in words.
    pub faults: Vec<String>,
    files: BTreeMap<PathBuf, Position>,
}

#[derive(Debug, Default, Clone, Copy)]
struct Position {
    bytes: u64,
    chain: u64,
}

impl Follower {
    /// Begins to tail.
    pub fn start(folder: PathBuf) -> Self {
        let end = Arc::new(AtomicBool::new(false));
        let seen_end = Arc::clone(&end);
        let thread = thread::spawn(move || {
            let mut tail = Tail::default();
            loop {
                let last = seen_end.load(Ordering::Acquire);
                tail.look(&folder);
                if last {
                    tail.compare();
                    return tail;
                }
                thread::sleep(POLL);
            }
        });
        Self { end, thread }
    }

    /// Looks a last time, compares the files with what was read of them, and tells.
    ///
    /// # Panics
    /// When a line was no JSON object.
    pub fn finish(self) -> Tail {
        self.end.store(true, Ordering::Release);
        self.thread.join().expect("the follower read JSON lines only")
    }
}

impl Tail {
    fn look(&mut self, folder: &Path) {
        for path in output::files(folder) {
            let mut position = self.files.get(&path).copied().unwrap_or_default();
            let Some(new) = self.read_from(&path, position.bytes) else { continue };
            let Some(complete) = new.iter().rposition(|byte| *byte == b'\n').map(|last| last + 1) else { continue };
            for line in new[..complete].split_inclusive(|byte| *byte == b'\n') {
                position.chain = chain(position.chain, line);
                self.take(line);
            }
            position.bytes += complete as u64;
            self.files.insert(path, position);
        }
    }

    fn take(&mut self, line: &[u8]) {
        self.lines += 1;
        let event = Event::parse(String::from_utf8_lossy(line).trim_end());
        let identity = (event.text("source").to_owned(), event.text("messageId").to_owned());
        if !self.identities.insert(identity.clone()) {
            self.faults.push(format!("read twice: {identity:?}"));
        }
    }

    fn compare(&mut self) {
        for (path, position) in self.files.clone() {
            let Some(bytes) = self.read_from(&path, 0) else { continue };
            let read = &bytes[..bytes.len().min(position.bytes as usize)];
            if read.split_inclusive(|byte| *byte == b'\n').fold(0, chain) != position.chain {
                self.faults.push(format!("{} no longer holds what was read from it", path.display()));
            }
        }
    }

    fn read_from(&mut self, path: &Path, from: u64) -> Option<Vec<u8>> {
        let mut file =
            File::open(path).map_err(|error| self.faults.push(format!("{} is gone: {error}", path.display()))).ok()?;
        let bytes = file.metadata().map_or(0, |metadata| metadata.len());
        if bytes < from {
            self.faults.push(format!("{} shrank to {bytes} bytes below the {from} read", path.display()));
            return None;
        }
        let mut new = Vec::new();
        file.seek(SeekFrom::Start(from)).and_then(|_| file.read_to_end(&mut new)).ok()?;
        Some(new)
    }
}

fn chain(before: u64, line: &[u8]) -> u64 {
    let mut hasher = DefaultHasher::new();
    (before, line).hash(&mut hasher);
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use std::fs;

    use super::Tail;

    fn line(id: &str) -> String {
        format!("{{\"source\":\"s\",\"messageId\":\"{id}\"}}\n")
    }

    #[test]
    fn reads_complete_lines_once_and_notices_what_is_taken_back() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("a.ndjson");
        fs::write(&file, line("1") + "{\"sou").unwrap();
        let mut tail = Tail::default();
        tail.look(folder.path());
        tail.look(folder.path());
        assert_eq!((tail.lines, tail.faults.len()), (1, 0));

        fs::write(&file, line("1") + &line("2")).unwrap();
        tail.look(folder.path());
        tail.compare();
        assert_eq!((tail.lines, tail.faults.len()), (2, 0));

        fs::write(&file, line("1") + &line("3") + &line("1")).unwrap();
        tail.look(folder.path());
        assert_eq!(tail.faults.len(), 1, "the repeated identity: {:?}", tail.faults);
        tail.compare();
        assert_eq!(tail.faults.len(), 2, "the line that was replaced: {:?}", tail.faults);

        fs::write(&file, line("1")).unwrap();
        tail.look(folder.path());
        assert_eq!(tail.faults.len(), 3, "the file that shrank: {:?}", tail.faults);
    }
}
