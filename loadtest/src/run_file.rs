//! `run.json`: what a run was asked to do, so that `verify` needs nothing but the directory.

use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::Error;
use crate::report::Report;
use crate::workload::Workload;

/// Raised when the same workload would make other bytes.
pub const FORMAT: u32 = 1;

/// The contents of `run.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct RunFile {
    /// [`FORMAT`] of the program that wrote it.
    pub format: u32,
    /// When the run started.
    pub started_at: String,
    /// How many threads sent it: as many ledger files there are.
    pub threads: u32,
    /// What was sent.
    pub workload: Workload,
}

impl RunFile {
    /// Makes the directory of a run and writes the file.
    ///
    /// # Errors
    /// [`Error::Usage`] where the directory holds a ledger already, [`Error::Failed`] where it cannot be written.
    pub fn create(&self, dir: &Path) -> Result<(), Error> {
        let path = path(dir);
        if path.exists() {
            let message = format!("{} holds a ledger already: name a new directory, or delete it", dir.display());
            return Err(Error::Usage(message));
        }
        fs::create_dir_all(dir).map_err(|error| Error::file("create", dir, &error))?;
        write_json(&path, self)
    }

    /// Reads the file of a run.
    ///
    /// # Errors
    /// [`Error::Usage`] where there is none or it is not one this program can repeat.
    pub fn read(dir: &Path) -> Result<Self, Error> {
        let path = path(dir);
        let usage = |why: String| Error::Usage(format!("{}: {why}", path.display()));
        let text = fs::read(&path).map_err(|error| usage(format!("{error} (is this the --ledger of a run?)")))?;
        let file: Self = serde_json::from_slice(&text).map_err(|error| usage(error.to_string()))?;
        if file.format != FORMAT {
            return Err(usage(format!("format {}, this program makes the events of format {FORMAT}", file.format)));
        }
        Ok(file)
    }
}

fn path(dir: &Path) -> PathBuf {
    dir.join("run.json")
}

/// Where the report of a run lies.
pub(crate) fn report_path(dir: &Path) -> PathBuf {
    dir.join("report.json")
}

/// Reads a report; `path` may be the directory of a run.
pub(crate) fn read_report(path: &Path) -> Result<Report, Error> {
    let path = if path.is_dir() { report_path(path) } else { path.to_owned() };
    let usage = |why: String| Error::Usage(format!("{}: {why}", path.display()));
    let text = fs::read(&path).map_err(|error| usage(error.to_string()))?;
    serde_json::from_slice(&text).map_err(|error| usage(format!("not a report of `loadtest run --json`: {error}")))
}

/// Writes a value as readable JSON.
pub(crate) fn write_json(path: &Path, value: &impl Serialize) -> Result<(), Error> {
    let mut text = serde_json::to_vec_pretty(value).map_err(|error| Error::Failed(error.to_string()))?;
    text.push(b'\n');
    fs::write(path, text).map_err(|error| Error::file("write", path, &error))
}
