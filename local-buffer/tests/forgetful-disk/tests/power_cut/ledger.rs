//! What the buffer said, to be held against what it gives back.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use crate::record::Name;

/// What was appended, acknowledged as durable, and done.
#[derive(Default)]
pub(crate) struct Ledger {
    /// Records that each appender has handed over, whatever became of them.
    submitted: Mutex<BTreeMap<u64, u64>>,
    /// Records that must be there: id and name.
    held: Mutex<BTreeMap<u64, Name>>,
    /// The reader may have acknowledged everything below this id.
    done: AtomicU64,
}

/// What a reading of everything found.
pub(crate) struct Found {
    pub(crate) delivered: u64,
    /// Those of them that the ledger has.
    pub(crate) held: u64,
}

impl Ledger {
    pub(crate) fn submit(&self, last: Name) {
        lock(&self.submitted).insert(last.appender, last.number + 1);
    }

    pub(crate) fn hold(&self, id: u64, name: Name) {
        if let Some(other) = lock(&self.held).insert(id, name) {
            assert_eq!(other, name, "id {id} was acknowledged for two records");
        }
    }

    pub(crate) fn done(&self, below: u64) {
        self.done.fetch_max(below, Ordering::SeqCst);
        let mut held = lock(&self.held);
        *held = held.split_off(&below);
    }

    /// Checks one record that was delivered; gives its name.
    pub(crate) fn check(&self, id: u64, record: &[u8]) -> Name {
        let name =
            Name::of(record).unwrap_or_else(|| panic!("record {id}: {} bytes that nobody appended", record.len()));
        let submitted = lock(&self.submitted).get(&name.appender).copied().unwrap_or(0);
        assert!(name.number < submitted, "record {id}: {name:?} was never appended");
        if let Some(held) = lock(&self.held).get(&id) {
            assert_eq!(*held, name, "record {id} is another one than was acknowledged");
        }
        name
    }

    /// Checks all records that are there after an opening; those have to be there from now on.
    pub(crate) fn check_all(&self, all: &[(u64, Vec<u8>)]) -> Found {
        let mut numbers: BTreeMap<u64, u64> = BTreeMap::new();
        let mut before = None;
        for (id, record) in all {
            let name = self.check(*id, record);
            assert!(before < Some(*id), "record {id} came after {before:?}");
            before = Some(*id);
            let earlier = numbers.insert(name.appender, name.number);
            assert!(earlier < Some(name.number), "{name:?} came after number {earlier:?}");
        }
        let there: BTreeSet<u64> = all.iter().map(|(id, _)| *id).collect();
        let done = self.done.load(Ordering::SeqCst);
        let held = lock(&self.held).clone();
        let lost: Vec<_> = held.range(done..).filter(|(id, _)| !there.contains(id)).collect();
        assert!(lost.is_empty(), "{} acknowledged records are lost, done below {done}: {lost:?}", lost.len());
        for (id, record) in all {
            self.hold(*id, self.check(*id, record));
        }
        Found { delivered: all.len() as u64, held: held.range(done..).count() as u64 }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
