//! Memory for what comes in several pieces: bodies, and heads that have not ended. All threads together have a bound;
//! what a client says that it will send takes nothing of it, only what has come.

use std::cell::RefCell;
use std::ops::Deref;
use std::rc::Rc;
use std::sync::Arc;

use wire::limits::REQUEST_BYTES_MAX;

use crate::events::Framed;
use crate::reject::Reject;
use crate::share::{Shared, Slot};

/// Sizes of buffers. Each is at most four times the one before: a body that grows through all of them is copied by half of
/// its length, and holds at most four times what has come of it. 128 KiB is for batches as SDKs send them.
const SIZES: [usize; 6] = [4 << 10, 16 << 10, 64 << 10, 128 << 10, 256 << 10, REQUEST_BYTES_MAX];
/// What a buffer has beside its size, for the parser.
const AROUND: usize = Framed::BEFORE + Framed::BEHIND;
/// How many times of what has come a buffer may have, so that it need not grow soon.
const AHEAD_MAX: usize = 4;
/// Buffers of each size that a thread keeps for the next bodies, 14 MiB together.
const KEPT_MAX: [usize; SIZES.len()] = [64, 32, 16, 16, 8, 8];

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
        self.room(slot, 0, 0)
    }

    /// The same for a body of so many bytes, by the client's word, that is to be parsed where it lies. Nothing is taken for
    /// what has not come; but the next buffer is for all of it where that is no more than four times what has come then: it
    /// does not grow, and nothing is copied again.
    pub(crate) fn lend_for_body(self: &Rc<Self>, slot: Slot, bytes: usize) -> Room {
        self.room(Some(slot), Framed::BEFORE, bytes)
    }

    fn room(self: &Rc<Self>, slot: Option<Slot>, before: usize, expected: usize) -> Room {
        let reservation = self.reservation(slot);
        Room { bytes: Vec::new(), before, behind: 0, size: None, expected, reservation, pool: Rc::clone(self) }
    }

    fn take(&self, size: usize) -> Vec<u8> {
        self.kept.borrow_mut()[size].pop().unwrap_or_else(|| Vec::with_capacity(SIZES[size] + AROUND))
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
    /// How many of them are the parser's: before what has come, and behind it.
    before: usize,
    behind: usize,
    /// Which of the sizes the buffer has.
    size: Option<usize>,
    /// Bytes that there will be, by the client's word; 0 where it said none.
    expected: usize,
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
        debug_assert_eq!(self.behind, 0, "all has come before it is parsed");
        let needed = self.len() + piece.len();
        if self.size.is_none_or(|size| needed > SIZES[size]) {
            let larger = self.size_for(needed).ok_or(Reject::BodyTooLarge)?;
            self.reservation.grow_to(SIZES[larger])?;
            let mut bytes = self.pool.take(larger);
            bytes.resize(self.before, 0);
            bytes.extend_from_slice(self);
            self.give_back();
            (self.bytes, self.size) = (bytes, Some(larger));
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }

    /// The size for so many bytes and, within reason, for those that will come.
    fn size_for(&self, needed: usize) -> Option<usize> {
        let least = SIZES.iter().position(|bytes| needed <= *bytes)?;
        let for_all = SIZES.iter().position(|bytes| self.expected <= *bytes).unwrap_or(SIZES.len() - 1);
        let within_reason = SIZES.iter().rposition(|bytes| *bytes <= AHEAD_MAX * needed).unwrap_or(0);
        Some(least.max(for_all.min(within_reason)))
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

    /// What has come, for the parser to work in; `None` where there is nothing, or no room for the parser.
    pub(crate) fn framed(&mut self) -> Option<Framed<'_>> {
        if self.before != Framed::BEFORE || self.bytes.is_empty() {
            return None;
        }
        if self.behind == 0 {
            self.behind = Framed::BEHIND;
            self.bytes.resize(self.bytes.len() + Framed::BEHIND, 0);
        }
        Some(Framed::new(&mut self.bytes))
    }

    fn give_back(&mut self) {
        let bytes = std::mem::take(&mut self.bytes);
        if let Some(size) = self.size.filter(|size| bytes.capacity() == SIZES[*size] + AROUND) {
            self.pool.keep(size, bytes);
        }
    }
}

impl Deref for Room {
    type Target = [u8];

    fn deref(&self) -> &[u8] {
        self.bytes.get(self.before..self.bytes.len() - self.behind).unwrap_or_default()
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
    fn a_body_of_known_length_is_gathered_in_one_buffer_and_its_length_alone_takes_nothing() {
        let pool = pool(usize::MAX);
        let slot = crate::share::Slots::default().of_source(b"a source");
        let mut room = pool.lend_for_body(slot, 92_000);
        assert!(room.framed().is_none());
        room.push(&vec![b'x'; 32 << 10]).unwrap();
        let place = room.as_ptr();
        (1..4).for_each(|_| room.push(&vec![b'x'; 20_000]).unwrap());
        assert_eq!((room.as_ptr(), room.len()), (place, 92_768), "more than it said, and still where it began");
        let framed = room.framed().unwrap();
        assert!(framed.text().len() == 92_768 && framed.text().iter().all(|byte| *byte == b'x'));
        assert_eq!((room.as_ptr(), room.len()), (place, 92_768));
        for expected in [1 << 20, usize::MAX] {
            let before = pool.in_flight.bytes();
            let mut liar = pool.lend_for_body(slot, expected);
            liar.push(&[b'x'; 190]).unwrap();
            assert_eq!(pool.in_flight.bytes() - before, SIZES[0]);
            liar.push(&[b'x'; 10_000]).unwrap();
            assert!(pool.in_flight.bytes() - before <= AHEAD_MAX * liar.len());
        }
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
            assert!(pool.kept.borrow()[size].iter().all(|kept| kept.capacity() == bytes + AROUND));
        }
        let kept: usize = (0..SIZES.len()).map(|size| SIZES[size] * KEPT_MAX[size]).sum();
        assert!(kept <= 14 << 20, "{kept}");
        let mut room = pool.lend(None);
        room.push(b"x").unwrap();
        let place = room.as_ptr();
        drop(room);
        let mut again = pool.lend(None);
        again.push(b"y").unwrap();
        assert_eq!(again.as_ptr(), place);
    }
}
