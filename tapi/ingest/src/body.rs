//! Reading a body up to its bound, without a copy where it came in one piece.

use std::cell::RefCell;
use std::rc::Rc;
use std::sync::Arc;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use wire::limits::REQUEST_BYTES_MAX;

use crate::reject::Reject;
use crate::share::{Shared, Slot};

/// First size of the buffer for a body whose length is not known.
const GATHER_BYTES_MIN: usize = 64 * 1024;
/// Buffers that a thread keeps for the next bodies, each of at most 1 MiB.
const BUFFERS_KEPT_MAX: usize = 8;

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
    slot: Slot,
    bytes: usize,
}

impl Reservation {
    pub(crate) fn new(in_flight: &Arc<InFlight>, slot: Slot) -> Self {
        Self { in_flight: Arc::clone(in_flight), slot, bytes: 0 }
    }

    /// Takes more, or is refused without having taken anything.
    pub(crate) fn grow(&mut self, bytes: usize) -> Result<(), Reject> {
        self.in_flight.0.take(self.slot, bytes)?;
        self.bytes += bytes;
        Ok(())
    }

    /// Takes what is missing to so many bytes.
    pub(crate) fn grow_to(&mut self, bytes: usize) -> Result<(), Reject> {
        self.grow(bytes.saturating_sub(self.bytes))
    }
}

impl Drop for Reservation {
    fn drop(&mut self) {
        self.in_flight.0.give(self.slot, self.bytes);
    }
}

/// The buffers of one thread, for bodies that come in several pieces.
pub(crate) struct Pool {
    kept: RefCell<Vec<Vec<u8>>>,
    in_flight: Arc<InFlight>,
}

impl Pool {
    pub(crate) fn new(in_flight: Arc<InFlight>) -> Self {
        Self { kept: RefCell::default(), in_flight }
    }

    /// Room for more bytes of requests in flight.
    pub(crate) fn reservation(&self, slot: Slot) -> Reservation {
        Reservation::new(&self.in_flight, slot)
    }

    fn lend(self: &Rc<Self>, slot: Slot) -> Gathered {
        let bytes = self.kept.borrow_mut().pop().unwrap_or_default();
        Gathered { bytes, reservation: self.reservation(slot), pool: Rc::clone(self) }
    }
}

/// A body in a buffer of the pool.
pub(crate) struct Gathered {
    bytes: Vec<u8>,
    reservation: Reservation,
    pool: Rc<Pool>,
}

impl Gathered {
    fn push(&mut self, piece: &[u8], length: Option<usize>) -> Result<(), Reject> {
        let needed = self.bytes.len() + piece.len();
        if needed > REQUEST_BYTES_MAX {
            return Err(Reject::BodyTooLarge);
        }
        if needed > self.reservation.bytes {
            let doubled = needed.next_power_of_two().clamp(GATHER_BYTES_MIN, REQUEST_BYTES_MAX);
            let wanted = length.unwrap_or(doubled).max(needed);
            self.reservation.grow_to(wanted)?;
            self.bytes.reserve_exact(wanted - self.bytes.len());
        }
        self.bytes.extend_from_slice(piece);
        Ok(())
    }
}

impl Drop for Gathered {
    fn drop(&mut self) {
        let mut kept = self.pool.kept.borrow_mut();
        if kept.len() < BUFFERS_KEPT_MAX {
            let mut bytes = std::mem::take(&mut self.bytes);
            bytes.clear();
            kept.push(bytes);
        }
    }
}

/// A whole body.
pub(crate) enum Body {
    /// It came in one piece and lies where hyper read it.
    Whole(Bytes),
    /// It came in several.
    Gathered(Gathered),
}

impl Body {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Whole(bytes) => bytes,
            Self::Gathered(gathered) => &gathered.bytes,
        }
    }
}

/// A body on its way.
pub(crate) struct Source {
    incoming: Incoming,
    length: Option<usize>,
    ended: bool,
}

impl Source {
    pub(crate) fn new(incoming: Incoming) -> Self {
        let length = incoming.size_hint().exact().map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        let ended = incoming.is_end_stream();
        Self { incoming, length, ended }
    }

    /// Whether nothing of it is left on the connection.
    pub(crate) fn ended(&self) -> bool {
        self.ended
    }

    /// Reads it all, or up to the bound, on the account of a source.
    pub(crate) async fn read(&mut self, pool: &Rc<Pool>, slot: Slot) -> Result<Body, Reject> {
        if self.length.is_some_and(|length| length > REQUEST_BYTES_MAX) {
            return Err(Reject::BodyTooLarge);
        }
        let first = self.piece().await?.unwrap_or_default();
        let Some(second) = self.piece().await? else {
            // One piece is never longer than hyper's own buffer.
            return Ok(Body::Whole(first));
        };
        let mut gathered = pool.lend(slot);
        gathered.push(&first, self.length)?;
        gathered.push(&second, self.length)?;
        drop((first, second));
        while let Some(piece) = self.piece().await? {
            gathered.push(&piece, self.length)?;
        }
        Ok(Body::Gathered(gathered))
    }

    /// Reads the rest and forgets it, so that the connection can be used again; gives up at the bound.
    pub(crate) async fn discard(&mut self) {
        if self.length.is_some_and(|length| length > REQUEST_BYTES_MAX) {
            return;
        }
        let mut bytes = 0;
        while let Ok(Some(piece)) = self.piece().await {
            bytes += piece.len();
            if bytes > REQUEST_BYTES_MAX {
                return;
            }
        }
    }

    /// The next piece that is not empty.
    async fn piece(&mut self) -> Result<Option<Bytes>, Reject> {
        while !self.ended {
            let Some(frame) = self.incoming.frame().await else {
                self.ended = true;
                break;
            };
            // Trailers mean nothing to us.
            let Ok(piece) = frame.map_err(|_| Reject::BadRequest)?.into_data() else { continue };
            self.ended = self.incoming.is_end_stream();
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::share::Slots;

    fn slot() -> Slot {
        Slots::default().of_source(b"web")
    }

    fn pool(bytes_max: usize) -> Rc<Pool> {
        Rc::new(Pool::new(Arc::new(InFlight::new(bytes_max))))
    }

    #[test]
    fn gathering_ends_at_the_bound() {
        let mut gathered = pool(usize::MAX).lend(slot());
        let piece = vec![b'x'; REQUEST_BYTES_MAX / 2];
        gathered.push(&piece, None).unwrap();
        gathered.push(&piece, None).unwrap();
        assert_eq!(gathered.bytes.len(), REQUEST_BYTES_MAX);
        assert_eq!(gathered.push(b"x", None), Err(Reject::BodyTooLarge));
    }

    #[test]
    fn bodies_in_flight_are_bounded_together() {
        let pool = pool(2 * GATHER_BYTES_MIN);
        let (mut a, mut b, mut c) = (pool.lend(slot()), pool.lend(slot()), pool.lend(slot()));
        a.push(b"x", None).unwrap();
        b.push(b"x", None).unwrap();
        assert_eq!(c.push(b"x", None), Err(Reject::Overloaded));
        drop(a);
        c.push(b"x", None).unwrap();
        drop((b, c));
        assert_eq!(pool.in_flight.bytes(), 0);
    }

    #[test]
    fn buffers_are_used_again_and_only_so_many_are_kept() {
        let pool = pool(usize::MAX);
        let many: Vec<_> = (0..2 * BUFFERS_KEPT_MAX).map(|_| pool.lend(slot())).collect();
        drop(many);
        assert_eq!(pool.kept.borrow().len(), BUFFERS_KEPT_MAX);
        let mut gathered = pool.lend(slot());
        gathered.push(b"x", None).unwrap();
        let place = gathered.bytes.as_ptr();
        drop(gathered);
        assert_eq!(pool.lend(slot()).bytes.as_ptr(), place);
    }
}
