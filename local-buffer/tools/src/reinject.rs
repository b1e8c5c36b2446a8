//! `buffer reinject`: records of the quarantine back into the buffer.

use std::path::{Path, PathBuf};

use local_buffer::inspect::{FileOutcome, Reinjection};
use serde::Serialize;
use service::{Failure, Output};
use wire::envelope::Envelope;

use crate::arguments::Choice;
use crate::place::failure;
use crate::text;

#[derive(Serialize, Default)]
struct Shown {
    dir: String,
    files: u64,
    records: u64,
    bytes: u64,
    refused_files: u64,
    skipped_files: u64,
    outcomes: Vec<ShownFile>,
}

/// What became of a file; fields that it does not have are left out.
#[derive(Serialize, Default)]
struct ShownFile {
    file: String,
    outcome: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    records: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    first_id: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    refused_records: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    moved_to: Option<String>,
    #[serde(skip_serializing_if = "Option::is_none")]
    reason: Option<String>,
}

pub(crate) fn run(dir: &Path, choice: &Choice, json: bool) -> Result<(), Failure> {
    let files = choice.which.record.as_ref().map(|files| files.iter().map(|file| name(file)).collect());
    let work = Reinjection { files, salvage: choice.salvage };
    let accept =
        &mut |record: &[u8]| Envelope::decode(record).map(drop).map_err(|error| format!("no envelope: {error}"));
    let mut outcomes = Vec::new();
    let done = work.run(dir, accept, &mut |outcome| outcomes.push(ShownFile::of(outcome)));
    let mut output = Output::new();
    // What was done before a failure is printed all the same: it is done.
    let counts = done.as_ref().copied().unwrap_or_default();
    if json {
        output.json(&Shown {
            dir: dir.display().to_string(),
            files: counts.files,
            records: counts.records,
            bytes: counts.bytes,
            refused_files: counts.refused,
            skipped_files: counts.skipped,
            outcomes,
        })?;
    } else {
        outcomes.iter().filter_map(ShownFile::line).try_for_each(|line| output.line(line))?;
        let (records, files) = (text::counted(counts.records, "record"), text::counted(counts.files, "file"));
        output.line(format!("{records} of {files} ({}) will be drained again", text::bytes(counts.bytes)))?;
        if counts.skipped > 0 {
            let skipped = text::counted(counts.skipped, "file");
            output.line(format!("{skipped} without a record of their own left; --salvage looks inside them"))?;
        }
    }
    output.finish()?;
    done.map_err(failure)?;
    if counts.refused > 0 {
        let files = text::counted(counts.refused, "file");
        return Err(Failure::failed(format!("{files} refused, each for the reason above; they lie where they were")));
    }
    Ok(())
}

/// A file of the quarantine may be named with the way to it.
fn name(file: &Path) -> String {
    let name = file.file_name().map_or_else(|| PathBuf::from(file), PathBuf::from);
    name.to_string_lossy().into_owned()
}

impl ShownFile {
    fn of(outcome: &FileOutcome) -> Self {
        match outcome {
            FileOutcome::Reinjected { file, records, first, refused_records, moved_to } => Self {
                file: file.clone(),
                outcome: "reinjected",
                records: Some(*records),
                first_id: Some(first.get()),
                refused_records: Some(*refused_records),
                moved_to: Some(moved_to.clone()),
                reason: None,
            },
            FileOutcome::Refused { file, reason } => {
                Self { file: file.clone(), outcome: "refused", reason: Some(reason.clone()), ..Self::default() }
            }
            FileOutcome::Skipped { file } => Self { file: file.clone(), outcome: "skipped", ..Self::default() },
        }
    }

    fn line(&self) -> Option<String> {
        let Self { file, records, first_id, refused_records, moved_to, reason, .. } = self;
        if let Some(reason) = reason {
            return Some(format!("{file}: refused: {reason}"));
        }
        let (records, first, moved_to) = (records.as_ref()?, first_id.as_ref()?, moved_to.as_ref()?);
        let refused = refused_records.filter(|refused| *refused > 0);
        let refused = refused.map_or_else(String::new, |refused| format!(", {} not wanted", text::count(refused)));
        let (records, first) = (text::counted(*records, "record"), text::count(*first));
        Some(format!("{file}: {records} from id {first} on{refused}; now {moved_to}"))
    }
}
