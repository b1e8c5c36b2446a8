//! A ledger and the output that belongs to it, made without any server.

use std::fs;
use std::path::PathBuf;

use loadtest::events::Events;
use loadtest::ledger::{Entry, Writer};
use loadtest::retry::Outcome;
use loadtest::run_file::{FORMAT, RunFile};
use loadtest::workload::{Shape, Workload};
use tempfile::TempDir;

use crate::program::{Ended, loadtest, nowhere};

pub(crate) struct Scene {
    dir: TempDir,
    pub(crate) workload: Workload,
    pub(crate) events: Events,
    /// The output, before it is written.
    pub(crate) lines: Vec<String>,
    /// Behind the last line.
    pub(crate) tail: String,
}

impl Scene {
    /// Requests with these outcomes; every event that may be in the output is there once.
    pub(crate) fn new(workload: Workload, outcomes: &[(Outcome, u8)]) -> Self {
        let events = Events::try_new(&workload).expect("a good workload");
        let dir = tempfile::tempdir().expect("a directory");
        let mut scene = Self { dir, workload, events, lines: Vec::new(), tail: String::new() };
        scene.add_ledger("ledger", outcomes);
        let mut sent: Vec<_> = (0..outcomes.len() as u64)
            .filter(|&request| !matches!(outcomes[request as usize].0, Outcome::Refused | Outcome::NeverSent))
            .flat_map(|request| scene.events.plan().slots(request))
            .map(|slot| scene.events.plan().event(slot))
            .collect();
        sent.sort_unstable();
        sent.dedup();
        scene.lines = sent.into_iter().map(|number| scene.line(number)).collect();
        scene
    }

    /// A hundred acknowledged singles with duplicates among them.
    pub(crate) fn acknowledged() -> Self {
        let workload = Workload { duplicates: 0.1, ..Workload::new(0x5eed) };
        Self::new(workload, &[(Outcome::Acknowledged, 1); 100])
    }

    pub(crate) fn add_ledger(&self, name: &str, outcomes: &[(Outcome, u8)]) {
        let dir = self.dir.path().join(name);
        let file = RunFile {
            format: FORMAT,
            started_at: "2026-11-01T00:00:00Z".to_owned(),
            threads: 1,
            workload: self.workload.clone(),
        };
        file.create(&dir).expect("writes");
        let mut ledger = Writer::create(&dir, self.workload.seed, 0, 1).expect("creates");
        ledger.intend(outcomes.len() as u64).expect("writes");
        for (request, &(outcome, perhaps_kept)) in outcomes.iter().enumerate() {
            ledger.note(Entry { request: request as u64, outcome, perhaps_kept, status: 0 }).expect("writes");
        }
        ledger.end(outcomes.len() as u64).expect("writes");
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Event `number` as a server puts it out.
    pub(crate) fn line(&self, number: u64) -> String {
        let mut event = Vec::new();
        self.events.write(number, &mut event);
        let library = self.workload.shape == Shape::Batch;
        as_output(std::str::from_utf8(&event).expect("UTF-8"), &self.workload.source, library)
    }

    /// The first event that is in the output and carries a messageId.
    pub(crate) fn id(&self, index: usize) -> String {
        let line = &self.lines[index];
        let start = line.find("\"lt-").expect("an id of ours") + 1;
        line[start..start + 32].to_owned()
    }

    pub(crate) fn verify(&self) -> Ended {
        self.verify_with(&["ledger"], &[])
    }

    pub(crate) fn verify_with(&self, ledgers: &[&str], more: &[&str]) -> Ended {
        let output = self.path("output");
        fs::create_dir_all(&output).expect("creates");
        // Two files: what is doubled or missing is so over all of them.
        let (first, second) = self.lines.split_at(self.lines.len() / 2);
        let text = |lines: &[String]| lines.iter().flat_map(|line| [line, "\n"]).collect::<String>();
        fs::write(output.join("1.ndjson"), text(first)).expect("writes");
        fs::write(output.join("2.ndjson"), text(second) + &self.tail).expect("writes");
        self.verify_output(&output.display().to_string(), ledgers, more)
    }

    pub(crate) fn verify_output(&self, output: &str, ledgers: &[&str], more: &[&str]) -> Ended {
        let mut arguments = vec!["verify".to_owned(), "--output".to_owned(), output.to_owned()];
        for (option, value) in [("--settle", "0s".to_owned()), ("--admin", nowhere())] {
            if !more.contains(&option) {
                arguments.extend([option.to_owned(), value]);
            }
        }
        for ledger in ledgers {
            arguments.extend(["--ledger".to_owned(), self.path(ledger).display().to_string()]);
        }
        arguments.extend(more.iter().map(|&argument| argument.to_owned()));
        loadtest(arguments)
    }
}

/// What a server adds to an event: members in front and behind, none of the client's touched but `timestamp`.
pub(crate) fn as_output(event: &str, source: &str, with_library: bool) -> String {
    let mut line = event.replacen("\"timestamp\":", "\"originalTimestamp\":", 1);
    if with_library {
        let library = r#""context":{"library":{"name":"turnstile-loadtest","version":"1"},"ip":"127.0.0.1","#;
        line = line.replacen("\"context\":{", library, 1);
    }
    if !line.contains("\"messageId\":") {
        line.insert_str(1, r#""messageId":"0f1e2d3c-0000-4000-8000-000000000000","#);
    }
    line.pop();
    line + &format!(
        r#","timestamp":"2026-11-01T00:00:01.000Z","receivedAt":"2026-11-01T00:00:01.000Z","source":"{source}"}}"#
    )
}
