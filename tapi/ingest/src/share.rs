//! A bulkhead between sources: none may hold so much of what all share that others get nothing.
//!
//! While at most half of a resource is taken, anybody may take more. Beyond that a source may hold at most an equal part
//! of three quarters: the last quarter is for those who come next. A source alone may so hold three quarters of the
//! whole, and what others leave is not kept from it.
//!
//! Sources are told apart by a hash, under a seed of this process, into a fixed number of slots. Two that meet in one
//! share a part; nobody outside can make them meet.

use std::hash::{BuildHasher as _, RandomState};
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};

use crate::reject::Reject;

/// A flood meets one of 4,000 other sources.
const SLOTS: usize = 4_096;

/// Who takes: a source, or while nothing names it the client's address.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Slot(u16);

/// The seed of the slots.
#[derive(Debug, Default, Clone)]
pub(crate) struct Slots(RandomState);

impl Slots {
    pub(crate) fn of_source(&self, source: &[u8]) -> Slot {
        Slot((self.0.hash_one(source) as usize % SLOTS) as u16)
    }

    pub(crate) fn of_address(&self, address: Option<IpAddr>) -> Slot {
        Slot((self.0.hash_one(address) as usize % SLOTS) as u16)
    }
}

/// A resource that all sources share.
#[derive(Debug)]
pub(crate) struct Shared {
    /// All there is.
    max: usize,
    /// What a source may always hold: one request has to fit.
    part_min: usize,
    /// Whether nothing else bounds the whole.
    is_hard: bool,
    taken: AtomicUsize,
    /// Slots that hold anything.
    holders: AtomicUsize,
    by_slot: Box<[AtomicUsize]>,
}

impl Shared {
    /// Nobody gets anything beyond `max`, and the last quarter is kept free of a source that is alone.
    pub(crate) fn hard(max: usize, part_min: usize) -> Self {
        let by_slot = (0..SLOTS).map(|_| AtomicUsize::new(0)).collect();
        Self { max, part_min, is_hard: true, taken: AtomicUsize::new(0), holders: AtomicUsize::new(0), by_slot }
    }

    /// Something else bounds the whole, and lets those wait who come too early. So a source that is alone is not asked.
    pub(crate) fn soft(max: usize, part_min: usize) -> Self {
        Self { is_hard: false, ..Self::hard(max, part_min) }
    }

    /// What all hold together.
    pub(crate) fn taken(&self) -> usize {
        self.taken.load(Ordering::Relaxed)
    }

    /// Takes more, or is refused without having taken anything.
    ///
    /// # Errors
    /// [`Reject::SourceOverloaded`] beyond a fair part, [`Reject::Overloaded`] beyond all.
    pub(crate) fn take(&self, slot: Slot, amount: usize) -> Result<(), Reject> {
        if amount == 0 {
            return Ok(());
        }
        let before = self.by_slot[usize::from(slot.0)].fetch_add(amount, Ordering::Relaxed);
        let newly = usize::from(before == 0);
        let holders = self.holders.fetch_add(newly, Ordering::Relaxed) + newly;
        let taken = self.taken.fetch_add(amount, Ordering::Relaxed) + amount;
        let part = ((self.max - self.max / 4) / holders.max(1)).max(self.part_min);
        let is_asked = taken > self.max / 2 && (self.is_hard || holders > 1);
        let refused = if self.is_hard && taken > self.max {
            Some(Reject::Overloaded)
        } else if is_asked && before > 0 && before + amount > part {
            // Who holds nothing yet gets its first request in, however large that is.
            Some(Reject::SourceOverloaded)
        } else {
            None
        };
        refused.map_or(Ok(()), |reject| {
            self.give(slot, amount);
            Err(reject)
        })
    }

    /// Gives back.
    pub(crate) fn give(&self, slot: Slot, amount: usize) {
        if amount == 0 {
            return;
        }
        self.taken.fetch_sub(amount, Ordering::Relaxed);
        let before = self.by_slot[usize::from(slot.0)].fetch_sub(amount, Ordering::Relaxed);
        self.holders.fetch_sub(usize::from(before == amount), Ordering::Relaxed);
    }

    /// Takes more for somebody who has not said yet who it is: nothing but the whole bounds it.
    ///
    /// # Errors
    /// [`Reject::Overloaded`] beyond all.
    pub(crate) fn take_unnamed(&self, amount: usize) -> Result<(), Reject> {
        let taken = self.taken.fetch_add(amount, Ordering::Relaxed) + amount;
        if taken > self.max {
            self.give_unnamed(amount);
            return Err(Reject::Overloaded);
        }
        Ok(())
    }

    /// Gives that back.
    pub(crate) fn give_unnamed(&self, amount: usize) {
        self.taken.fetch_sub(amount, Ordering::Relaxed);
    }

    /// As [`take`](Self::take), and given back when dropped.
    pub(crate) fn hold(&self, slot: Slot, amount: usize) -> Result<Held<'_>, Reject> {
        self.take(slot, amount)?;
        Ok(Held { shared: self, slot, amount })
    }
}

/// A part of a [`Shared`].
#[derive(Debug)]
pub(crate) struct Held<'a> {
    shared: &'a Shared,
    slot: Slot,
    amount: usize,
}

impl Drop for Held<'_> {
    fn drop(&mut self) {
        self.shared.give(self.slot, self.amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const FLOOD: Slot = Slot(1);

    fn flood(shared: &Shared) -> Vec<Held<'_>> {
        (0..5_000).map_while(|_| shared.hold(FLOOD, 1).ok()).collect()
    }

    #[test]
    fn a_flood_leaves_room_for_others() {
        let shared = Shared::hard(1000, 1);
        let alone = flood(&shared);
        assert_eq!(alone.len(), 750, "three quarters");
        // Ten others find room, though the flood holds on to all it has.
        let others: Vec<_> = (2..12).map(|slot| shared.hold(Slot(slot), 20).unwrap()).collect();
        assert_eq!(shared.take(FLOOD, 1), Err(Reject::SourceOverloaded));
        drop(alone);
        let beside = flood(&shared);
        assert_eq!(beside.len(), 500 - 200, "what is left of the half, for its equal part is less");
        drop((beside, others));
        assert_eq!((shared.taken(), shared.holders.load(Ordering::Relaxed)), (0, 0));
    }

    #[test]
    fn a_refusal_says_whose_fault_it_is() {
        let shared = Shared::hard(1000, 600);
        assert_eq!(shared.take(FLOOD, 1000), Ok(()), "a first request fits");
        assert_eq!(shared.take(Slot(2), 1), Err(Reject::Overloaded));
        shared.give(FLOOD, 1000);
        assert_eq!(shared.take(FLOOD, 1001), Err(Reject::Overloaded));
        assert_eq!([shared.take(FLOOD, 300), shared.take(Slot(2), 300)], [Ok(()); 2]);
        assert_eq!(shared.take(FLOOD, 300), Ok(()), "what a source may always hold");
        assert_eq!(shared.take(FLOOD, 1), Err(Reject::SourceOverloaded));
        assert_eq!(shared.taken(), 900, "a refusal takes nothing");
    }

    #[test]
    fn where_others_may_wait_a_source_alone_is_not_asked() {
        let shared = Shared::soft(1000, 1);
        assert_eq!(flood(&shared).len(), 5_000);
        let alone = flood(&shared);
        let _other = shared.hold(Slot(2), 5_000).unwrap();
        assert_eq!(shared.take(FLOOD, 1), Err(Reject::SourceOverloaded));
        assert_eq!(shared.take(Slot(2), 1), Err(Reject::SourceOverloaded));
        drop(alone);
        assert_eq!(shared.take(FLOOD, 1), Ok(()));
        assert_eq!(shared.take(FLOOD, 374), Ok(()), "half of three quarters");
        assert_eq!(shared.take(FLOOD, 1), Err(Reject::SourceOverloaded));
    }

    #[test]
    fn sources_are_told_apart() {
        let slots = Slots::default();
        assert_eq!(slots.of_source(b"web"), slots.clone().of_source(b"web"));
        let many: std::collections::HashSet<_> =
            (0..100_u32).map(|source| slots.of_source(&source.to_le_bytes()).0).collect();
        assert!(many.len() > 80, "{}", many.len());
    }
}
