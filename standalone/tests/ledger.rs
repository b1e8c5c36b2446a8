//! The suite of every log and every state, with an index on a ledger.

#[path = "../../dedup-worker/dedup/tests/index/subject.rs"]
mod subject;

use std::fs;

use changelog_suite::{Bench, Content, Form, Reached, Subject as _, walk};
use standalone::ledger::{Ledger, LedgerError};
use tempfile::TempDir;
use wire::DecodeError;
use wire::changelog::{Chain, Framed, Record, VERSION};

use subject::IndexSubject;

/// Writes the files of ledgers: each record in one of its own, but the newest checkpoint and what follows in one.
struct LedgerBench {
    dir: TempDir,
    records: Vec<(u64, Vec<u8>)>,
    end: u64,
}

impl LedgerBench {
    fn new() -> Self {
        Self { dir: TempDir::new().unwrap(), records: Vec::new(), end: 0 }
    }

    fn write(&mut self) {
        self.dir = TempDir::new().unwrap();
        let says_genesis = |(_, bytes): &(u64, Vec<u8>)| {
            let framed = Framed::decode(bytes).map(|framed| framed.record);
            matches!(framed, Ok(Record::Genesis(_) | Record::Checkpoint(_)))
        };
        let newest = self.records.iter().rposition(says_genesis).expect("a ledger begins with a genesis");
        for (base, bytes) in &self.records[..newest] {
            self.write_file(*base, bytes);
        }
        let (bases, tail): (Vec<u64>, Vec<&[u8]>) =
            self.records[newest..].iter().map(|(base, bytes)| (*base, bytes.as_slice())).unzip();
        self.write_file(bases[0], &tail.concat());
    }

    fn write_file(&self, base: u64, bytes: &[u8]) {
        fs::write(self.dir.path().join(format!("{base:020}.ledger")), bytes).unwrap();
    }
}

impl Bench for LedgerBench {
    type Error = LedgerError;
    type Log<'b> = Ledger;

    fn begin(&mut self) -> u32 {
        *self = Self::new();
        standalone::ledger::LANE
    }

    fn append(&mut self, records: &[Vec<u8>]) {
        for record in records {
            self.records.push((self.end, record.clone()));
            self.end += record.len() as u64;
        }
        self.write();
    }

    fn drop_first(&mut self, count: usize) {
        self.records.drain(..count);
        self.write();
    }

    fn log(&mut self) -> Ledger {
        Ledger::open(self.dir.path(), 1 << 20, &IndexSubject::genesis(1)).unwrap()
    }

    fn never(form: Form) -> Option<&'static str> {
        match form {
            Form::Empty => Some("who opens a ledger that is not there makes it, with its genesis"),
            Form::WithoutGenesis => {
                Some("one whose newest file does not begin with a genesis or checkpoint is not opened")
            }
            Form::Mark => Some("a new ledger is made in a folder of its own"),
        }
    }

    /// It decodes each record, to know where the next begins.
    fn is_undecodable(error: &LedgerError) -> bool {
        let LedgerError::Damaged { source, .. } = error else { return false };
        *source == DecodeError::Checksum || *source == DecodeError::Version(VERSION + 1)
    }
}

#[test]
fn an_index_is_made_from_a_ledger() {
    walk::<IndexSubject, _>(&mut LedgerBench::new());
}

/// Why the suite leaves out [`Form::WithoutGenesis`].
#[test]
fn a_ledger_without_a_genesis_is_not_opened() {
    let bench = LedgerBench::new();
    let batch = Content::Batch(1, Reached { clock_ms: 5, positions: Vec::new(), has_all_positions: true });
    bench.write_file(0, &IndexSubject::encode(0, Chain::default(), &batch));
    let refused = Ledger::open(bench.dir.path(), 1 << 20, &IndexSubject::genesis(1)).unwrap_err();
    assert!(matches!(refused, LedgerError::Damaged { source: DecodeError::Short, .. }), "{refused}");
}
