//! Bytes that the batches of all lanes of this process may hold together.
//!
//! A lane alone may fill a batch; many lanes with a backlog each share what there is. A batch is complete when the budget is
//! used up, however small it is, so nobody waits for room: what is held goes out and makes some.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering::Relaxed};

/// Bytes of a batch that are always let in: smaller ones cost more in transactions than they save in memory.
const SHARE_MIN: usize = 1 << 20;

/// What there is, and how much of it is used.
#[derive(Debug)]
pub(crate) struct Budget {
    max: usize,
    used: AtomicUsize,
}

/// What a batch holds of it; given back when that is dropped.
#[derive(Debug, Default)]
pub(crate) struct Held(Option<(Arc<Budget>, usize)>);

impl Budget {
    /// So many bytes.
    pub(crate) fn new(max: usize) -> Arc<Self> {
        Arc::new(Self { max, used: AtomicUsize::new(0) })
    }
}

impl Held {
    /// Holds so many bytes more; whether the batch is complete by that.
    pub(crate) fn add(&mut self, budget: &Arc<Budget>, bytes: usize) -> bool {
        let (budget, held) = self.0.get_or_insert_with(|| (Arc::clone(budget), 0));
        *held += bytes;
        let used = budget.used.fetch_add(bytes, Relaxed) + bytes;
        used >= budget.max && *held >= SHARE_MIN
    }

    /// Holds nothing any more.
    pub(crate) fn clear(&mut self) {
        if let Some((budget, held)) = self.0.take() {
            budget.used.fetch_sub(held, Relaxed);
        }
    }
}

impl Drop for Held {
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
        let [mut one, mut two] = [Held::default(), Held::default()];
        assert!(!one.add(&budget, 3 * SHARE_MIN));
        assert!(!two.add(&budget, SHARE_MIN - 1));
        assert!(two.add(&budget, 1), "nothing is left");
        assert!(one.add(&budget, 1));
        drop(one);
        assert_eq!(budget.used.load(Relaxed), SHARE_MIN);
        assert!(!two.add(&budget, SHARE_MIN));
        two.clear();
        assert_eq!(budget.used.load(Relaxed), 0);
    }

    #[test]
    fn a_small_batch_is_let_in_all_the_same() {
        let budget = Budget::new(0);
        let mut held = Held::default();
        assert!(!held.add(&budget, SHARE_MIN - 1));
        assert!(held.add(&budget, 1));
    }
}
