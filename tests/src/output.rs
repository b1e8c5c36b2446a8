//! Reading what came out, as a user would: complete lines of `*.ndjson`, one JSON object each.

use std::collections::HashMap;
use std::fs;
use std::path::{Path, PathBuf};

use serde_json::{Map, Value};

/// One line of output.
#[derive(Debug, Clone)]
pub struct Event {
    /// The line, without its end.
    pub raw: String,
    /// Its members.
    pub json: Map<String, Value>,
}

impl Event {
    /// Reads one line. A lone surrogate escape is legal JSON text that no Rust string can hold, and `1e400` one that no
    /// `f64` can: they are read as U+FFFD and 0, and stay what they are in `raw`.
    ///
    /// # Panics
    /// Where the line is not a JSON object.
    pub fn parse(raw: &str) -> Self {
        let readable = raw.replace("\\ud800", "\\ufffd").replace("1e400", "0");
        let json = serde_json::from_str(&readable).unwrap_or_else(|error| panic!("not a JSON object ({error}): {raw}"));
        Self { raw: raw.to_owned(), json }
    }

    /// A member that must be a string.
    ///
    /// # Panics
    /// Where it is missing or something else.
    pub fn text(&self, member: &str) -> &str {
        let value = self.json.get(member).and_then(Value::as_str);
        value.unwrap_or_else(|| panic!("{member} should be a string: {}", self.raw))
    }
}

/// The `*.ndjson` files of a folder in the order of their names; none when there is no folder yet.
///
/// # Panics
/// Where the folder cannot be read.
pub fn files(folder: &Path) -> Vec<PathBuf> {
    if !folder.exists() {
        return Vec::new();
    }
    let mut files: Vec<_> = fs::read_dir(folder)
        .expect("the output folder")
        .map(|entry| entry.expect("an entry of the output folder").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "ndjson"))
        .collect();
    files.sort();
    files
}

/// Every event of a folder.
///
/// # Panics
/// Where a line is incomplete or no JSON object.
pub fn events(folder: &Path) -> Vec<Event> {
    let mut events = Vec::new();
    for file in files(folder) {
        let text = fs::read_to_string(&file).unwrap_or_else(|error| panic!("{}: {error}", file.display()));
        assert!(text.is_empty() || text.ends_with('\n'), "{} ends in an incomplete line", file.display());
        events.extend(text.lines().map(Event::parse));
    }
    events
}

/// Every event of a folder by its messageId.
///
/// # Panics
/// Where one came out twice.
pub fn events_by_id(folder: &Path) -> HashMap<String, Event> {
    let mut by_id = HashMap::new();
    for event in events(folder) {
        let id = event.text("messageId").to_owned();
        if let Some(other) = by_id.insert(id.clone(), event) {
            panic!("{id} came out twice, once as {}", other.raw);
        }
    }
    by_id
}

/// Complete lines of a folder that contain a text; it may still be written.
///
/// # Panics
/// Where a file cannot be read.
pub fn lines_with(folder: &Path, text: &str) -> usize {
    let lines = |file: PathBuf| {
        let read = fs::read(file).expect("an output file");
        String::from_utf8_lossy(&read)
            .split_inclusive('\n')
            .filter(|line| line.ends_with('\n') && line.contains(text))
            .count()
    };
    files(folder).into_iter().map(lines).sum()
}

/// Bytes and number of the output files, to see whether something was added.
///
/// # Panics
/// Where a file cannot be read.
pub fn bytes(folder: &Path) -> u64 {
    files(folder).iter().map(|file| fs::metadata(file).expect("an output file").len()).sum()
}
