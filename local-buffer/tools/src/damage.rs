//! A piece of damage, as JSON and as a row.

use local_buffer::inspect::Damage;
use serde::Serialize;

use crate::text;

/// Pieces that are listed; those beyond are counted.
const LISTED_MAX: usize = 1000;

/// A piece of damage.
#[derive(Serialize)]
pub(crate) struct Shown {
    kind: &'static str,
    file: String,
    offset: u64,
    bytes: u64,
    /// Its bytes lie in the quarantine.
    set_aside: bool,
    /// It costs nothing.
    harmless: bool,
    reason: &'static str,
}

/// The pieces that were found; a broken disk has more of them than anybody reads.
#[derive(Default)]
pub(crate) struct List {
    pub(crate) listed: Vec<Shown>,
    /// Beyond those listed.
    pub(crate) more: u64,
}

impl List {
    pub(crate) fn add(&mut self, damage: &Damage) {
        if self.listed.len() >= LISTED_MAX {
            self.more += 1;
            return;
        }
        self.listed.push(Shown {
            kind: damage.kind.name(),
            file: damage.file.clone(),
            offset: damage.offset,
            bytes: damage.bytes,
            set_aside: damage.set_aside,
            harmless: damage.kind.is_harmless(),
            reason: damage.kind.reason(),
        });
    }

    pub(crate) fn lines(&self) -> Vec<String> {
        if self.listed.is_empty() {
            return Vec::new();
        }
        let row = |shown: &Shown| {
            let standing = match shown {
                Shown { set_aside: true, .. } => "set aside",
                Shown { harmless: true, .. } => "harmless",
                _ => "DAMAGED",
            };
            let numbers = [text::count(shown.offset), text::count(shown.bytes)];
            let [offset, bytes] = numbers;
            [standing.to_owned(), shown.file.clone(), shown.reason.to_owned(), offset, bytes]
        };
        let rows: Vec<_> = self.listed.iter().map(row).collect();
        let mut lines = text::table(3, ["", "FILE", "REASON", "OFFSET", "BYTES"], &rows);
        if self.more > 0 {
            lines.push(format!("and {} more", text::count(self.more)));
        }
        lines
    }
}
