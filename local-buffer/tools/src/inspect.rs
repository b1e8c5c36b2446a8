//! `buffer inspect`: what is in a buffer.

use std::path::Path;

use local_buffer::inspect::{InUse, Inspector, Overview, SegmentView, WritePath};
use local_buffer::{DirectoryCase, FloorCase, RecordId, SegmentCase};
use serde::Serialize;
use service::{Failure, Output};

use crate::place::failure;
use crate::text;

#[derive(Serialize)]
struct Shown {
    dir: String,
    format_version: u32,
    instance: Option<String>,
    created_at: Option<String>,
    in_use: &'static str,
    pid: Option<u32>,
    program: Option<String>,
    steady: bool,
    meta_lost: bool,
    floor_lost: bool,
    floor: u64,
    next_id: u64,
    undrained_records: u64,
    undrained_bytes: u64,
    oldest_id: Option<u64>,
    oldest_at: Option<String>,
    oldest_age_ms: Option<u64>,
    segments_bytes: u64,
    segments_missing: u64,
    segments: Vec<Segment>,
    quarantine: Quarantine,
    write_path: &'static str,
}

#[derive(Serialize)]
struct Segment {
    file: String,
    state: &'static str,
    generation: u64,
    first_id: Option<u64>,
    end_id: Option<u64>,
    used_bytes: u64,
    bytes: u64,
}

#[derive(Serialize)]
struct Quarantine {
    files: u64,
    bytes: u64,
    records: u64,
    damage: u64,
    segments: u64,
    reasons: Vec<Cause>,
}

#[derive(Serialize)]
struct Cause {
    reason: String,
    files: u64,
    bytes: u64,
}

pub(crate) fn run(dir: &Path, json: bool) -> Result<(), Failure> {
    let overview = Inspector::open(dir).and_then(|inspector| inspector.overview()).map_err(failure)?;
    let shown = Shown::of(dir, overview, text::now_ms());
    let mut output = Output::new();
    if json {
        output.json(&shown)?;
    } else {
        shown.lines().iter().try_for_each(|line| output.line(line))?;
    }
    output.finish()
}

impl Shown {
    fn of(dir: &Path, overview: Overview, now_ms: i64) -> Self {
        let (in_use, pid, program) = match overview.in_use {
            InUse::No => ("no", None, None),
            InUse::By(holder) => ("yes", Some(holder.pid), holder.program),
            InUse::Unknown => ("unknown", None, None),
        };
        let quarantine = overview.quarantine;
        let reason = |counted: local_buffer::inspect::ReasonCount| Cause {
            reason: counted.reason,
            files: counted.files,
            bytes: counted.bytes,
        };
        Self {
            dir: dir.display().to_string(),
            format_version: overview.format_version,
            instance: overview.instance.map(|instance| instance.to_string()),
            created_at: overview.created_ms.and_then(|ms| text::time(ms as i64)),
            in_use,
            pid,
            program,
            steady: overview.steady,
            meta_lost: matches!(overview.directory, DirectoryCase::MetaLost | DirectoryCase::AllLost),
            floor_lost: overview.floor_case == FloorCase::Lost,
            floor: overview.floor.get(),
            next_id: overview.next.get(),
            undrained_records: overview.undrained_records,
            undrained_bytes: overview.undrained_bytes,
            oldest_id: overview.oldest.map(RecordId::get),
            oldest_at: overview.oldest_ms.and_then(|ms| text::time(ms as i64)),
            oldest_age_ms: overview.oldest_ms.map(|ms| (now_ms as u64).saturating_sub(ms)),
            segments_bytes: overview.segments_bytes,
            segments_missing: overview.segments_missing,
            segments: overview.segments.into_iter().map(Segment::of).collect(),
            quarantine: Quarantine {
                files: quarantine.files,
                bytes: quarantine.bytes,
                records: quarantine.records,
                damage: quarantine.damage,
                segments: quarantine.segments,
                reasons: quarantine.reasons.into_iter().map(reason).collect(),
            },
            write_path: match overview.write_path {
                WritePath::Direct => "direct",
                WritePath::PageCache => "page_cache",
                WritePath::DirectPossible => "direct_possible",
                WritePath::PageCacheOnly => "page_cache_only",
                WritePath::Unknown => "unknown",
            },
        }
    }

    fn lines(&self) -> Vec<String> {
        let user = match (self.in_use, self.pid, &self.program) {
            ("yes", Some(pid), Some(program)) => format!("in use by {program}, pid {pid}"),
            ("yes", Some(pid), None) => format!("in use by pid {pid}"),
            ("no", ..) => "not in use".to_owned(),
            _ => "nobody can tell whether it is in use".to_owned(),
        };
        let mut lines = vec![format!("{}  ({user})", self.dir)];
        let mut say = |name: &str, value: String| lines.push(format!("  {name:<12}{value}"));
        let made = self.created_at.as_ref().map_or_else(String::new, |time| format!(", made {time}"));
        let lost = if self.meta_lost { "; the meta file is lost" } else { "" };
        let name = self.instance.as_deref().unwrap_or("none");
        say("instance", format!("{name}, format version {}{made}{lost}", self.format_version));
        let floor = if self.floor_lost { " (lost; an opening would begin here)" } else { "" };
        say("floor", format!("{}{floor}", text::count(self.floor)));
        say("next id", text::count(self.next_id));
        let (records, bytes) = (text::counted(self.undrained_records, "record"), text::bytes(self.undrained_bytes));
        say("undrained", format!("{records}, {bytes} on disk"));
        if let (Some(id), Some(age), Some(time)) = (self.oldest_id, self.oldest_age_ms, &self.oldest_at) {
            say("oldest", format!("{}, id {}, of {time}", text::age(age), text::count(id)));
        }
        say("write path", write_path(self.write_path).to_owned());
        let Quarantine { files, bytes, records, damage, segments, .. } = &self.quarantine;
        let kinds = [(*records, "record"), (*damage, "piece of damage"), (*segments, "segment")];
        let kinds = kinds.iter().filter(|(count, _)| *count > 0);
        let kinds: Vec<_> = kinds.map(|(number, noun)| format!("{} {noun}", text::count(*number))).collect();
        let kinds = if kinds.is_empty() { String::new() } else { format!(" ({})", kinds.join(", ")) };
        say("quarantine", format!("{}, {}{kinds}", text::counted(*files, "file"), text::bytes(*bytes)));
        if self.segments_missing > 0 {
            say("missing", format!("{} with undrained records", text::counted(self.segments_missing, "segment")));
        }
        if !self.steady {
            say("note", "headers changed while they were read; figures are of several instants".to_owned());
        }
        lines.push(String::new());
        let rows: Vec<_> = self.segments.iter().map(Segment::row).collect();
        let head = ["SEGMENT", "STATE", "GENERATION", "FIRST ID", "END ID", "USED", "SIZE"];
        lines.extend(text::table(2, head, &rows));
        if !self.quarantine.reasons.is_empty() {
            lines.push(String::new());
            let row = |reason: &Cause| {
                let known = if reason.reason.is_empty() { "(not readable)" } else { &reason.reason };
                [known.to_owned(), text::count(reason.files), text::bytes(reason.bytes)]
            };
            let rows: Vec<_> = self.quarantine.reasons.iter().map(row).collect();
            lines.extend(text::table(1, ["SET ASIDE BECAUSE", "FILES", "SIZE"], &rows));
        }
        lines
    }
}

impl Segment {
    fn of(view: SegmentView) -> Self {
        Self {
            file: view.file,
            state: state(view.case),
            generation: view.generation,
            first_id: view.first.map(RecordId::get),
            end_id: view.end.map(RecordId::get),
            used_bytes: view.used_bytes,
            bytes: view.bytes,
        }
    }

    fn row(&self) -> [String; 7] {
        let id = |id: Option<u64>| id.map_or_else(|| "-".to_owned(), text::count);
        [
            self.file.clone(),
            self.state.to_owned(),
            self.generation.to_string(),
            id(self.first_id),
            id(self.end_id),
            text::bytes(self.used_bytes),
            text::bytes(self.bytes),
        ]
    }
}

/// How a segment was found, in one word.
pub(crate) fn state(case: SegmentCase) -> &'static str {
    match case {
        SegmentCase::Free => "free",
        SegmentCase::Live => "live",
        SegmentCase::Drained => "drained",
        SegmentCase::HeaderRebuilt => "header_rebuilt",
        SegmentCase::HeaderTorn => "header_torn",
        SegmentCase::Foreign => "foreign",
        SegmentCase::Copied => "copied",
        SegmentCase::Unreadable => "unreadable",
    }
}

fn write_path(name: &str) -> &'static str {
    match name {
        "direct" => "direct: past the page cache, synced in the same call",
        "page_cache" => "page cache, then fdatasync",
        "direct_possible" => "direct, when it is opened (the file system can)",
        "page_cache_only" => "page cache, then fdatasync, when it is opened (the file system cannot do better)",
        _ => "unknown (no permission to look at the process)",
    }
}
