//! Reading a body up to its bound, without a copy where it came in one piece.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::rc::Rc;
use std::task::Poll;

use bytes::Bytes;
use http_body_util::BodyExt as _;
use hyper::body::{Body as _, Incoming};
use wire::limits::REQUEST_BYTES_MAX;

use crate::connection::Entry;
use crate::events::Framed;
use crate::pool::{Pool, Room};
use crate::reject::Reject;
use crate::share::Slot;

/// How often room is asked for again after somebody else was told to make some.
const ROOM_TRIES: usize = 8;

/// A whole body.
pub(crate) enum Body {
    /// It came in one piece and lies where hyper read it.
    Whole(Bytes),
    /// It came in several.
    Gathered(Room),
}

impl Body {
    pub(crate) fn as_slice(&self) -> &[u8] {
        match self {
            Self::Whole(bytes) => bytes,
            Self::Gathered(room) => room,
        }
    }

    /// The body for the parser to work in, where it lies so.
    pub(crate) fn framed(&mut self) -> Option<Framed<'_>> {
        match self {
            Self::Whole(_) => None,
            Self::Gathered(room) => room.framed(),
        }
    }
}

/// A body on its way.
pub(crate) struct Source {
    /// `None` where all of it is in `whole`.
    incoming: Option<Incoming>,
    /// What came in one piece with its head; taken by the first read.
    whole: Bytes,
    /// Its request, where no gate counts what comes and cuts it off.
    stream: Option<Rc<Entry>>,
    length: Option<usize>,
    ended: bool,
    /// It broke off: what else is on the connection means nothing.
    broken: bool,
}

impl Source {
    pub(crate) fn new(incoming: Incoming, stream: Option<Rc<Entry>>) -> Self {
        let length = incoming.size_hint().exact().map(|length| usize::try_from(length).unwrap_or(usize::MAX));
        let ended = incoming.is_end_stream();
        Self { incoming: Some(incoming), whole: Bytes::new(), stream, length, ended, broken: false }
    }

    /// One that is all there.
    pub(crate) fn whole(bytes: Bytes) -> Self {
        Self { incoming: None, length: Some(bytes.len()), stream: None, ended: true, whole: bytes, broken: false }
    }

    /// Whether nothing of it is left on the connection.
    pub(crate) fn ended(&self) -> bool {
        self.ended && !self.broken
    }

    /// Reads it all, or up to the bound, on the account of a source. `relieve` is asked to make another body give up its
    /// room where there is none for this reason, and says whether one will.
    ///
    /// # Errors
    /// [`Reject::BadRequest`] where it cannot be read to its end, and what [`Room::push`] refuses.
    pub(crate) async fn read(
        &mut self,
        pool: &Rc<Pool>,
        slot: Slot,
        relieve: impl Fn(Reject) -> bool,
    ) -> Result<Body, Reject> {
        if self.length.is_some_and(|length| length > REQUEST_BYTES_MAX) {
            return Err(Reject::BodyTooLarge);
        }
        if self.incoming.is_none() {
            return Ok(Body::Whole(std::mem::take(&mut self.whole)));
        }
        let first = self.piece().await?.unwrap_or_default();
        let second = {
            let mut piece = pin!(self.piece());
            match poll_fn(|context| Poll::Ready(piece.as_mut().poll(context))).await {
                // Most bodies end here.
                Poll::Ready(Ok(None)) => return Ok(Body::Whole(first)),
                Poll::Ready(second) => second?,
                Poll::Pending => None,
            }
        };
        // One that goes on must not keep the buffer that it was read into.
        let mut room = pool.lend_for_body(slot, self.length.unwrap_or(0));
        gather(&mut room, &first, &relieve).await?;
        drop(first);
        if let Some(piece) = second {
            gather(&mut room, &piece, &relieve).await?;
        }
        while let Some(piece) = self.piece().await? {
            gather(&mut room, &piece, &relieve).await?;
        }
        Ok(Body::Gathered(room))
    }

    /// Reads the rest and forgets it, so that the connection can be used again; gives up at the bound.
    pub(crate) async fn discard(&mut self) {
        if self.broken || self.length.is_some_and(|length| length > REQUEST_BYTES_MAX) {
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
        while let Some(incoming) = self.incoming.as_mut().filter(|_| !self.ended) {
            let frame = match &self.stream {
                None => incoming.frame().await.transpose(),
                Some(entry) => match entry.unless_cut(incoming.frame()).await {
                    Some(frame) => frame.transpose(),
                    None => return Err(self.break_off()),
                },
            };
            let Ok(frame) = frame else { return Err(self.break_off()) };
            let Some(frame) = frame else {
                self.ended = true;
                break;
            };
            // Trailers mean nothing to us.
            let Ok(piece) = frame.into_data() else { continue };
            self.ended = incoming.is_end_stream();
            self.stream.as_ref().inspect(|entry| entry.received_piece(piece.len()));
            if !piece.is_empty() {
                return Ok(Some(piece));
            }
        }
        Ok(None)
    }

    fn break_off(&mut self) -> Reject {
        self.broken = true;
        Reject::BadRequest
    }
}

async fn gather(room: &mut Room, piece: &[u8], relieve: &impl Fn(Reject) -> bool) -> Result<(), Reject> {
    for _ in 0..ROOM_TRIES {
        match room.push(piece) {
            Err(reject @ (Reject::Overloaded | Reject::SourceOverloaded)) if relieve(reject) => {
                tokio::task::yield_now().await;
            }
            outcome => return outcome,
        }
    }
    room.push(piece)
}
