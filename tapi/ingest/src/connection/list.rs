//! Entries in no order, from which any one can be taken.

use std::cell::{Ref, RefCell};
use std::rc::Rc;

use super::entry::Entry;

/// Entries, each with its place noted in it.
#[derive(Default)]
pub(super) struct List(RefCell<Vec<Rc<Entry>>>);

impl List {
    pub(super) fn all(&self) -> Ref<'_, Vec<Rc<Entry>>> {
        self.0.borrow()
    }

    pub(super) fn add(&self, entry: Entry) -> Rc<Entry> {
        let mut entries = self.0.borrow_mut();
        entry.index.set(entries.len());
        let entry = Rc::new(entry);
        entries.push(Rc::clone(&entry));
        entry
    }

    pub(super) fn remove(&self, entry: &Entry) {
        let mut entries = self.0.borrow_mut();
        let index = entry.index.get();
        entries.swap_remove(index);
        if let Some(moved) = entries.get(index) {
            moved.index.set(index);
        }
    }
}
