//! `buffer verify`: everything read, every checksum.

use std::path::Path;

use local_buffer::inspect::{Inspector, Verification};
use serde::Serialize;
use service::{Failure, Output};

use crate::bar::Bar;
use crate::damage::{List, Shown as Damage};
use crate::place::failure;
use crate::text;

/// What a verification found.
#[derive(Serialize)]
pub(crate) struct Shown {
    dir: String,
    clean: bool,
    floor: u64,
    next_id: u64,
    records: u64,
    undrained_records: u64,
    undrained_payload_bytes: u64,
    segments: u64,
    released_segments: u64,
    read_bytes: u64,
    quarantine_files: u64,
    damage_open: u64,
    damage_set_aside: u64,
    damage_harmless: u64,
    damage: Vec<Damage>,
    damage_not_listed: u64,
}

pub(crate) fn run(dir: &Path, json: bool, program: &str) -> Result<(), Failure> {
    let (verification, list) = verify(dir)?;
    let mut output = Output::new();
    if json {
        output.json(&Shown::of(dir, &verification, list))?;
    } else {
        lines(dir, &verification, &list).iter().try_for_each(|line| output.line(line))?;
    }
    output.finish()?;
    if verification.is_clean() {
        return Ok(());
    }
    let pieces = counted_pieces(verification.damage_open);
    let dir = dir.display();
    Err(Failure::failed(format!(
        "{pieces} of damage in {dir}; `{program} buffer repair {dir} --dry-run` says what can be done"
    )))
}

/// Reads everything, with a bar for those who watch.
pub(crate) fn verify(dir: &Path) -> Result<(Verification, List), Failure> {
    let (bar, mut list) = (Bar::new("verifying"), List::default());
    let inspector = Inspector::open(dir).map_err(failure)?;
    let seen = inspector.verify(&mut |damage| list.add(damage), &mut |progress| bar.show(progress));
    Ok((seen.map_err(failure)?, list))
}

/// `1 piece`, `2 pieces`.
pub(crate) fn counted_pieces(pieces: u64) -> String {
    text::counted(pieces, "piece")
}

impl Shown {
    pub(crate) fn of(dir: &Path, seen: &Verification, list: List) -> Self {
        Self {
            dir: dir.display().to_string(),
            clean: seen.is_clean(),
            floor: seen.floor.get(),
            next_id: seen.next.get(),
            records: seen.records,
            undrained_records: seen.undrained_records,
            undrained_payload_bytes: seen.undrained_bytes,
            segments: seen.segments,
            released_segments: seen.released,
            read_bytes: seen.read_bytes,
            quarantine_files: seen.quarantine_files,
            damage_open: seen.damage_open,
            damage_set_aside: seen.damage_set_aside,
            damage_harmless: seen.damage_harmless,
            damage: list.listed,
            damage_not_listed: list.more,
        }
    }
}

/// The same for people.
pub(crate) fn lines(dir: &Path, seen: &Verification, list: &List) -> Vec<String> {
    let mut lines = list.lines();
    if !lines.is_empty() {
        lines.push(String::new());
    }
    let verdict = if seen.is_clean() { "clean" } else { "DAMAGED" };
    lines.push(format!("{}: {verdict}", dir.display()));
    let (segments, read) = (text::counted(seen.segments, "segment"), text::bytes(seen.read_bytes));
    let (records, undrained) = (text::counted(seen.records, "record"), text::count(seen.undrained_records));
    lines.push(format!("  {segments} with {records}, {undrained} of them undrained; {read} read"));
    let pieces = [
        (seen.damage_open, "that nobody has looked after"),
        (seen.damage_set_aside, "whose bytes lie in the quarantine"),
        (seen.damage_harmless, "that cost nothing"),
    ];
    for (count, what) in pieces.into_iter().filter(|(count, _)| *count > 0) {
        lines.push(format!("  {} of damage {what}", counted_pieces(count)));
    }
    if seen.quarantine_files > 0 {
        lines.push(format!("  {} in the quarantine", text::counted(seen.quarantine_files, "file")));
    }
    if seen.released > 0 {
        lines.push(format!("  {} drained and freed meanwhile", text::counted(seen.released, "segment")));
    }
    lines
}
