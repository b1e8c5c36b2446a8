//! The processes of a hand-over, on the data of one place.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Child, Stdio};

use rustix::process::{Pid, Signal, WaitOptions, kill_process, waitpid};
use tempfile::TempDir;

use crate::binary::{Program, output, tapi};

/// A folder with settings and data.
pub(super) struct Place {
    config: PathBuf,
    pub(super) data: PathBuf,
    _dir: TempDir,
}

impl Place {
    pub(super) fn new() -> Self {
        let dir = tempfile::tempdir().unwrap();
        let (config, data) = (dir.path().join("tapi.toml"), dir.path().join("data"));
        std::fs::write(&config, "threads = 2\n[buffer]\nsegment_bytes = 4194304\n").unwrap();
        Self { config, data, _dir: dir }
    }

    pub(super) fn start(&self) -> Program {
        Program::start(&self.config, &self.data)
    }

    /// The next process, which serves where that one did.
    pub(super) fn take_over(&self, from: &Program, variables: &[(&str, &str)]) -> Program {
        let program = Program::spawn(&self.config, &self.data, &["--take-over"], variables);
        assert_eq!((program.ingest, program.admin), (from.ingest, from.admin), "the same listeners");
        program
    }

    pub(super) fn take_over_from_nobody(&self) -> Program {
        Program::spawn(&self.config, &self.data, &["--take-over"], &[])
    }

    /// A next process that never serves: its exit code (none where it was killed) and what it said.
    pub(super) fn refused(&self, from: &Program, variables: &[(&str, &str)]) -> (Option<i32>, String) {
        let mut command = tapi(&["run", "--take-over", "--config", self.config.to_str().unwrap()]);
        command
            .env("TAPI_LISTEN", from.ingest.to_string())
            .env("TAPI_ADMIN_LISTEN", from.admin.to_string())
            .env("TAPI_DATA", &self.data)
            .envs(variables.iter().copied());
        let output = command.output().unwrap();
        assert_eq!(String::from_utf8(output.stdout).unwrap(), "", "it is not ready");
        (output.status.code(), String::from_utf8(output.stderr).unwrap())
    }

    pub(super) fn config(&self) -> PathBuf {
        self.config.clone()
    }

    /// A next process that has stopped itself at that step.
    pub(super) fn stand_still(&self, from: &Program, at: &str) -> Standing {
        let child = tapi(&["run", "--take-over", "--config", self.config.to_str().unwrap()])
            .env("TAPI_LISTEN", from.ingest.to_string())
            .env("TAPI_ADMIN_LISTEN", from.admin.to_string())
            .env("TAPI_DATA", &self.data)
            .env("TAPI_CRASH_AT", at)
            .stderr(Stdio::inherit())
            .spawn()
            .unwrap();
        waitpid(Some(Pid::from_child(&child)), WaitOptions::UNTRACED).unwrap();
        Standing(child)
    }

    /// That the buffer, which nobody has, holds these and perhaps others, none of them twice.
    #[track_caller]
    pub(super) fn assert_each_once(&self, ids: &[String]) {
        let counts = counts(&self.data);
        let lost: Vec<_> = ids.iter().filter(|id| !counts.contains_key(*id)).collect();
        assert!(lost.is_empty(), "{} acknowledged and lost: {:?}", lost.len(), &lost[..lost.len().min(10)]);
        let doubled: Vec<_> = counts.iter().filter(|(_, count)| **count > 1).collect();
        assert!(doubled.is_empty(), "stored twice: {doubled:?}");
    }
}

/// A process that stands still.
pub(super) struct Standing(Child);

impl Standing {
    pub(super) fn go_on(&mut self) {
        kill_process(Pid::from_child(&self.0), Signal::CONT).unwrap();
    }

    /// It serves.
    pub(super) fn ready(self) -> Program {
        Program::ready(self.0)
    }

    /// It ends without having served: its exit code.
    pub(super) fn fails(mut self) -> Option<i32> {
        self.0.wait().unwrap().code()
    }
}

fn counts(data: &Path) -> BTreeMap<String, usize> {
    let (code, stdout, stderr) = output(&mut tapi(&["buffer", "dump", "--all", data.to_str().unwrap()]));
    assert_eq!(code, 0, "{stderr}");
    let mut counts = BTreeMap::new();
    for line in stdout.lines() {
        let record: serde_json::Value = serde_json::from_str(line).unwrap();
        *counts.entry(record["messageId"].as_str().unwrap().to_owned()).or_default() += 1;
    }
    counts
}
