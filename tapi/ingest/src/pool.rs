//! Memory for what comes in several pieces: bodies, and heads that have not ended. All threads together have a bound;
//! what a client says that it will send takes nothing of it, only what has come.

use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use wire::limits::REQUEST_BYTES_MAX;

use crate::reject::Reject;
use crate::share::{Shared, Slot};

/// Sizes of buffers. Each is four times the one before: a body that grows through all of them is copied by a third of its
/// length, and holds at most four times what has come of it.
const SIZES: [usize; 5] = [4 << 10, 16 << 10, 64 << 10, 256 << 10, REQUEST_BYTES_MAX];
/// Buffers of each size that a thread keeps for the next bodies, 12 MiB together.
const KEPT_MAX: [usize; SIZES.len()] = [64, 32, 16, 8, 8];

/// Bytes that all threads together hold for requests that are not stored yet.
#[derive(Debug)]
pub(crate) struct InFlight(Shared);

impl InFlight {
    pub(crate) fn new(bytes_max: usize) -> Self {
        Self(Shared::hard(bytes_max, REQUEST_BYTES_MAX))
    }

    pub(crate) fn bytes(&self) -> usize {
        self.0.taken()
    }
}

/// A part of [`InFlight`]; given back when dropped.
pub(crate) struct Reservation {
    in_flight: Arc<InFlight>,
    /// On whose account; nobody's as long as a head does not say it.
    slot: Option<Slot>,
    bytes: usize,
}

impl Reservation {
    pub(crate) fn new(in_flight: &Arc<InFlight>, slot: Option<Slot>) -> Self {
        Self { in_flight: Arc::clone(in_flight), slot, bytes: 0 }
    }

    /// Takes what is missing to so many bytes, or is refused without having taken anything.
    ///
    /// # Errors
    /// As [`Shared::take`].
    pub(crate) fn grow_to(&mut self, bytes: usize) -> Result<(), Reject> {
        let missing = bytes.saturating_sub(self.bytes);
        match self.slot {
            Some(slot) => self.in_flight.0.take(slot, missing)?,
            None => self.in_flight.0.take_unnamed(missing)?,
        }
        self.bytes += missing;
        Ok(())
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        match self.slot {
            Some(slot) => self.in_flight.0.give(slot, self.bytes),
            None => self.in_flight.0.give_unnamed(self.bytes),
        }
    }
}

/// The buffers of one thread.
pub(crate) struct Pool {
    kept: RefCell<[Vec<Vec<u8>>; SIZES.len()]>,
    in_flight: Arc<InFlight>,
}

impl Pool {
    pub(crate) fn new(in_flight: Arc<InFlight>) -> Self {
        Self { kept: RefCell::default(), in_flight }
    }

    /// Room for more bytes of requests in flight.
    pub(crate) fn reservation(&self, slot: Option<Slot>) -> Reservation {
        Reservation::new(&self.in_flight, slot)
    }

    /// An empty room; it takes its first buffer with its first bytes.
    pub(crate) fn lend(self: &Rc<Self>, slot: Option<Slot>) -> Room {
        Room { bytes: Vec::new(), size: None, reservation: self.reservation(slot), pool: Rc::clone(self) }
    }

    fn take(&self, size: usize) -> Vec<u8> {
        self.kept.borrow_mut()[size].pop().unwrap_or_else(|| Vec::with_capacity(SIZES[size]))
    }

    fn keep(&self, size: usize, mut bytes: Vec<u8>) {
        let kept = &mut self.kept.borrow_mut()[size];
        if kept.len() < KEPT_MAX[size] {
            bytes.clear();
            kept.push(bytes);
        }
    }
}

/// Bytes that have come and wait for more, in a buffer of the pool.
pub(crate) struct Room {
    bytes: Vec<u8>,
    /// Which of the sizes the buffer has.
    size: Option<usize>,
    reservation: Reservation,
    pool: Rc<Pool>,
}

impl Room {
    /// Adds a piece.
    ///
    /// # Errors
    /// [`Reject::BodyTooLarge`] beyond the largest size, [`Reject::Overloaded`] where others hold what there is,
    /// [`Reject::SourceOverloaded`] where the source holds its part; the piece was not added then.
    pub(crate) fn push(&mut self, piece: &[u8]) -> Result<(), Reject> {
        let needed = self.bytes.len() + piece.len();
        if self.size.is_none_or(|size| needed > SIZES[size]) {
            let larger = SIZES.iter().position(|bytes| needed <= *bytes).ok_or(Reject::BodyTooLarge)?;
            self.reservation.grow_to(SIZES[larger])?;
            let mut bytes = self.pool.take(larger);
            bytes.extend_from_slice(&self.bytes);
            self.give_back();
            (self.bytes, self.size) = (bytes, Some(larger));
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// Adds a few bytes of our own, which need no reservation.
    pub(crate) fn push_own(&mut self, bytes: &[u8]) {
        // The buffer may outgrow its size; it is not kept then.
        self.bytes.extend_from_slice(bytes);
    }

    pub(crate) fn truncate(&mut self, length: usize) {
        self.bytes.truncate(length);
    }

    /// Removes so many bytes from the front.
    pub(crate) fn consume(&mut self, count: usize) {
        self.bytes.drain(..count);
    }

    fn give_back(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if let Some(size) = self.size.filter(|size| bytes.capacity() == SIZES[*size]) {
            self.pool.keep(size, bytes);
        }
    }
}

impl Deref for Room {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        &self.bytes
    }
}

impl Drop for Room {
    fn drop(&mut self) {
        self.give_back();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pool(bytes_max: usize) -> Rc<Pool> {
        Rc::new(Pool::new(Arc::new(InFlight::new(bytes_max))))
    }

    #[test]
    fn gathering_ends_at_the_bound() {
        let pool = pool(usize::MAX);
        let mut room = pool.lend(None);
        let piece: Vec<u8> = (0..=250).cycle().take(REQUEST_BYTES_MAX / 64).collect();
        for count in 1..=64 {
            room.push(&piece).unwrap();
            assert_eq!(*room, piece.repeat(count));
            assert!(pool.in_flight.bytes() <= 4 * room.len(), "{count}");
        }
        assert_eq!(room.push(b"x"), Err(Reject::BodyTooLarge));
        assert_eq!(room.len(), REQUEST_BYTES_MAX);
    }

    #[test]
    fn rooms_are_bounded_together_and_take_nothing_before_they_hold_something() {
        let pool = pool(2 * SIZES[0]);
        let many: Vec<_> = (0..1000).map(|_| pool.lend(None)).collect();
        assert_eq!(pool.in_flight.bytes(), 0);
        let (mut a, mut b, mut c) = (pool.lend(None), pool.lend(None), pool.lend(None));
        a.push(b"x").unwrap();
        b.push(b"x").unwrap();
        assert_eq!(c.push(b"x"), Err(Reject::Overloaded));
        c.push_own(b"refused");
        drop(a);
        c.push(b"x").unwrap();
        assert_eq!(&*c, b"refusedx");
        drop((b, c, many));
        assert_eq!(pool.in_flight.bytes(), 0);
    }

    #[test]
    fn buffers_are_used_again_and_only_so_many_are_kept() {
        let pool = pool(usize::MAX);
        for (size, bytes) in SIZES.into_iter().enumerate() {
            let many: Vec<_> = (0..2 * KEPT_MAX[size])
                .map(|_| {
                    let mut room = pool.lend(None);
                    room.push(&vec![b'x'; bytes]).unwrap();
                    room
                })
                .collect();
            drop(many);
            assert_eq!(pool.kept.borrow()[size].len(), KEPT_MAX[size]);
            // Nobody holds more than was reserved for it.
            assert!(pool.kept.borrow()[size].iter().all(|kept| kept.capacity() == bytes));
        }
        let kept: usize = (0..SIZES.len()).map(|size| SIZES[size] * KEPT_MAX[size]).sum();
        assert!(kept <= 12 << 20, "{kept}");
        let mut room = pool.lend(None);
        room.push(b"x").unwrap();
        let place = room.as_ptr();
        drop(room);
        let mut again = pool.lend(None);
        again.push(b"y").unwrap();
        assert_eq!(again.as_ptr(), place);
    }
}
