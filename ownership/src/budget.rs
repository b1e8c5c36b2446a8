//! Bytes that the batches of all lanes of this process, and the restores, may hold together.
//!
//! A lane alone may fill a batch; many lanes with a backlog each share what there is. A batch is complete when the budget is
//! used up, however small it is, so nobody waits for room: what is held goes out and makes some. A restore does not wait
//! either, behind the fence least of all: it reads ahead as far as there is room for, and no restore takes from the half that
//! is left to lanes at work.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

use kafka::{Ahead, Message};

/// Bytes of a batch that are always let in: smaller ones cost more in transactions than they save in memory.
const SHARE_MIN: usize = 1 << 20;

/// What there is, and how much of it is used.
#[derive(Debug)]
pub struct Budget {
    max: usize,
    used: AtomicUsize,
}

/// What somebody holds of it; given back when that is dropped.
#[derive(Debug, Default)]
pub struct Share(Option<(Arc<Budget>, usize)>);

impl Budget {
    /// So many bytes.
    pub fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, used: AtomicUsize::new(0) })
    }

    /// How far ahead a restore may read now, for as long as the share is kept: as fast as can be where that leaves half of the
    /// budget to others, else [by little](Ahead::LEAN), which is not counted.
    pub(crate) fn ahead(self: &Arc<Self>) -> (Ahead, Share) {
        let bytes = Ahead::ONE.bytes();
        let is_free = |used: usize| (used + bytes <= self.max / 2).then_some(used + bytes);
        match self.used.fetch_update(Relaxed, Relaxed, is_free) {
            Ok(_) => (Ahead::ONE, Share(Some((Arc::clone(self), bytes)))),
            Err(_) => (Ahead::LEAN, Share::default()),
        }
    }
}

impl Share {
    /// Holds a record of so many bytes more; whether a batch is complete by that.
    pub fn add(&mut self, budget: &Arc<Budget>, record_bytes: usize) -> bool {
        let bytes = record_bytes + Message::BYTES;
        let (budget, held) = self.0.get_or_insert_with(|| (Arc::clone(budget), 0));
        *held += bytes;
        let used = budget.used.fetch_add(bytes, Relaxed) + bytes;
        used >= budget.max && *held >= SHARE_MIN
    }

    /// Holds nothing any more.
    pub fn clear(&mut self) {
        if let Some((budget, held)) = self.0.take() {
            budget.used.fetch_sub(held, Relaxed);
        }
    }
}

impl Drop for Share {
    fn drop(&mut self) {
        self.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_is_complete_when_all_together_hold_what_there_is() {
        let budget = Budget::new(4 * SHARE_MIN);
        let [mut one, mut two] = [Share::default(), Share::default()];
        assert!(!one.add(&budget, 3 * SHARE_MIN - Message::BYTES));
        assert!(!two.add(&budget, SHARE_MIN - Message::BYTES - 1));
        assert!(two.add(&budget, 1), "nothing is left");
        assert!(one.add(&budget, 1));
        drop(one);
        assert_eq!(budget.used.load(Relaxed), SHARE_MIN + Message::BYTES);
        assert!(!two.add(&budget, SHARE_MIN));
        two.clear();
        assert_eq!(budget.used.load(Relaxed), 0);
    }

    #[test]
    fn a_small_batch_is_let_in_all_the_same() {
        let budget = Budget::new(0);
        let mut held = Share::default();
        assert!(!held.add(&budget, SHARE_MIN - Message::BYTES - 1));
        assert!(held.add(&budget, 1));
    }

    #[test]
    fn many_restores_at_once_stay_within_the_half_of_the_budget() {
        let budget = Budget::new(4 * Ahead::ONE.bytes());
        let restores: Vec<_> = (0..16).map(|_| budget.ahead()).collect();
        let fast = restores.iter().filter(|(ahead, _)| *ahead == Ahead::ONE).count();
        assert_eq!((fast, budget.used.load(Relaxed)), (2, 2 * Ahead::ONE.bytes()));
        let lean = Ahead::LEAN.bytes() * (16 - fast);
        assert!(lean < 2 * Ahead::ONE.bytes(), "{lean}");
        drop(restores);
        assert_eq!(budget.ahead().0, Ahead::ONE);
        let mut batch = Share::default();
        batch.add(&budget, 2 * Ahead::ONE.bytes() - Message::BYTES);
        assert_eq!(budget.ahead().0, Ahead::LEAN, "batches have it");
    }
}
