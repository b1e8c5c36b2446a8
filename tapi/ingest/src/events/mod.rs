//! The body of a request, to records of the local buffer. Pure: bytes, time and sources come in as values.
//!
//! ```text
//!  body ──marks, walk──▶ tokens ──▶ envelope ──▶ each event: members ▶ validate ▶ times ▶ splice ──▶ record
//!    │ no JSON                                     ▲    │ refused
//!    └─▶ outline ─▶ each element: repair ──walk────┘    └─▶ set aside ──▶ record
//! ```
//!
//! * **Fast path.** simd-json finds where the tokens of the whole body start, and one walk over those says that it is
//!   JSON and which bracket closes which ([`parser`], [`walk`]); they give the exact bytes of each event and member
//!   ([`document`]). What goes out is spliced from the client's own bytes ([`splice`]). There is no tree of values, and
//!   once warm there is no allocation.
//! * **Slow path.** Real SDKs send `NaN`, and batches that a crash tore. Then a tolerant scanner finds the events and what
//!   is none ([`outline`]), what can be repaired is ([`repair`]), and each event takes the fast path by itself. A fault
//!   costs the event it is in.
//! * An event that is refused inside a batch is a record too, with its reason and bytes ([`set_aside`]), and so is a piece
//!   of a broken batch that is no event. A request that is refused is answered with the reason, and its whole body is
//!   set aside where it is known whose it is.
//!
//! The record's format is [`wire::envelope`]; every reason is a [`Reject`].
//!
//! # What goes out
//!
//! An event's value is one JSON object on one line: the client's members in their order and own bytes, so that numbers,
//! escapes and unknown members come out as they came in, and behind them what the server says, `source` and `receivedAt`
//! last. `messageId`, `type`, `timestamp`, `source` and `receivedAt` are always there, each name once; `writeKey` never
//! is. What is changed of the client's, and nothing else is:
//!
//! * `NaN` and the infinities become `null`; `[]` becomes `{}` as `properties`, `traits`, `context`, `integrations`;
//!   numbers as ids become strings; of a name above and of the ids only the last member stays.
//! * A messageId that is blank, or a word for nothing such as `undefined`, is replaced by one of its own ([`ids`]).
//! * `timestamp` becomes `receivedAt - (sentAt - timestamp)`, and the client's own goes out as `originalTimestamp`.
//! * White space between tokens goes where it has line ends or is beyond the size limit.
//!
//! What common readers of JSON cannot read is set aside, unless that is switched off ([`Unreadable`]).

mod calendar;
mod current_source;
mod document;
mod ending;
mod envelope;
mod event;
#[cfg(any(test, fuzzing))]
pub(crate) mod fuzzing;
mod hide_keys;
mod ids;
mod intake;
mod names;
mod outline;
mod parser;
mod random_id;
mod readable;
mod records;
mod repair;
mod set_aside;
mod shared;
mod splice;
mod strict;
mod text;
mod times;
mod timestamp;
mod validate;
mod walk;

#[cfg(test)]
mod tests;

use wire::limits::{BATCH_EVENTS_MAX, REQUEST_BYTES_MAX};

use self::document::Document;
use self::envelope::BatchEnvelope;
pub(crate) use self::intake::SOURCE_UNKNOWN;
use self::intake::{Intake, Origin, Receipt};
use self::outline::{Beyond, Element, Outline, Part};
pub(crate) use self::parser::Framed;
use self::parser::Parser;
pub use self::readable::Unreadable;
use self::repair::Repair;
pub use self::text::Decoder;
pub(crate) use self::text::write_string;
use crate::coding::BYTE_ORDER_MARK;
use crate::reject::Reject;
use crate::request::{Endpoint, Request};
use crate::sources::Sources;

/// Bytes of the records of one request's events. The envelope's common members are written into each event, so a small
/// body could otherwise become a very large one. Set-aside events come on top, with little more than their own bytes.
pub const RECORDS_BYTES_MAX: usize = 8 * 1024 * 1024;

/// Every reusable buffer of one server thread, and after [`ingest`] the request's records.
///
/// They grow with the requests: to 64 MiB at the very worst, of which at most 24 MiB are kept for the next request.
pub struct Scratch {
    /// What becomes of events that are JSON and that common readers refuse.
    pub unreadable: Unreadable,
    parser: Parser,
    envelope: BatchEnvelope,
    intake: Intake,
    outline: Outline,
    repair: Repair,
}

/// What became of a request's events.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Accepted {
    /// Events taken.
    pub events: usize,
    /// Events set aside, each counted where several are one record.
    pub rejected: usize,
}

impl Scratch {
    /// Empty buffers; they grow with the first requests.
    pub fn new() -> Self {
        Self {
            unreadable: Unreadable::default(),
            parser: Parser::new(),
            envelope: BatchEnvelope::default(),
            intake: Intake::new(),
            outline: Outline::default(),
            repair: Repair::default(),
        }
    }

    /// The records of the last request, events and set-aside ones in the order of the batch. If it was refused, its body,
    /// set aside, where a write key named its source; else none.
    pub fn records(&self) -> impl ExactSizeIterator<Item = &[u8]> + Clone {
        self.intake.records.iter()
    }

    /// Whether all records of the last request are of one source.
    pub(crate) fn has_common_source(&self) -> bool {
        self.intake.has_common_source
    }

    /// How many events of the last request were set aside for which reason; reasons without any are left out.
    pub fn event_rejects(&self) -> impl Iterator<Item = (Reject, usize)> {
        self.intake.rejects()
    }

    /// How many events of the last request were taken although `timestamp` or `sentAt` names no point in time that can be
    /// read, by source. A source may come more than once.
    pub(crate) fn unreadable_times(&self) -> impl Iterator<Item = (&[u8], usize)> {
        self.intake.unreadable_times.iter()
    }
}

impl Default for Scratch {
    fn default() -> Self {
        Self::new()
    }
}

/// Leaves the records of a request ([`wire::envelope`]) in `scratch`.
///
/// `body` is decompressed. The events of a batch that are refused become records too; if all are, the batch is still
/// accepted, for no SDK can do anything with the answer.
///
/// # Errors
/// The reason the whole request is refused: a fault of body or envelope, a write key that names no source, or, at a
/// path for single events, the fault of the event. Then the one record is the body, if it is known whose it is.
pub fn ingest(
    body: &[u8],
    request: &Request<'_>,
    sources: &Sources,
    scratch: &mut Scratch,
) -> Result<Accepted, Reject> {
    scratch.begin();
    let outcome = scratch.run(&mut Body::Elsewhere(body), request, sources);
    scratch.finish(outcome)
}

/// The same for a body that lies where the parser can work, and is not copied.
///
/// # Errors
/// As [`ingest`].
pub(crate) fn ingest_framed(
    body: Framed<'_>,
    request: &Request<'_>,
    sources: &Sources,
    scratch: &mut Scratch,
) -> Result<Accepted, Reject> {
    scratch.begin();
    let outcome = scratch.run(&mut Body::Framed(body), request, sources);
    scratch.finish(outcome)
}

/// Where a body lies.
enum Body<'a> {
    Elsewhere(&'a [u8]),
    Framed(Framed<'a>),
}

impl Body<'_> {
    fn text(&self) -> &[u8] {
        match self {
            Self::Elsewhere(text) => text,
            Self::Framed(framed) => framed.text(),
        }
    }

    fn skip(&mut self, count: usize) {
        match self {
            Self::Elsewhere(text) => *text = &text[count..],
            Self::Framed(framed) => framed.skip(count),
        }
    }

    fn parse<'a>(&'a mut self, parser: &'a mut Parser) -> Option<Document<'a>> {
        match self {
            Self::Elsewhere(text) => parser.parse(text),
            Self::Framed(framed) => parser.parse_framed(framed),
        }
    }
}

/// Leaves the record of a body in `scratch` that is refused unread, for `reject`: set aside, if the request's write key
/// names its source and it is not too large. Returns the reason to answer with, which is that of the key where the key is
/// unknown.
pub fn refuse(reject: Reject, body: &[u8], request: &Request<'_>, sources: &Sources, scratch: &mut Scratch) -> Reject {
    scratch.begin();
    let receipt = scratch.intake.open(request, sources);
    scratch.intake.set_aside_body(reject, body, &receipt);
    if scratch.intake.has_only_unknown_keys() { Reject::UnknownWriteKey } else { reject }
}

impl Scratch {
    fn begin(&mut self) {
        self.parser.trim();
        self.intake.begin();
        self.intake.unreadable = self.unreadable;
        self.envelope.clear();
    }

    fn finish(&mut self, outcome: Result<(), Reject>) -> Result<Accepted, Reject> {
        outcome?;
        self.intake.outcome().inspect_err(|_| self.intake.begin())
    }

    fn run(&mut self, body: &mut Body<'_>, request: &Request<'_>, sources: &Sources) -> Result<(), Reject> {
        if body.text().len() > REQUEST_BYTES_MAX {
            return Err(Reject::BodyTooLarge);
        }
        if body.text().starts_with(BYTE_ORDER_MARK) {
            body.skip(BYTE_ORDER_MARK.len());
        }
        if body.text().trim_ascii_start().is_empty() {
            return Err(Reject::BodyEmpty);
        }
        let mut receipt = self.intake.open(request, sources);
        let taken = match (body.parse(&mut self.parser), request.endpoint) {
            (Some(document), Endpoint::Single(_)) => {
                let client = &document.text()[Framed::BEFORE..];
                self.intake.take(Origin::whole(document, client, 0), &receipt, &mut self.envelope)
            }
            (Some(document), Endpoint::Batch) => batch(document, &mut receipt, &mut self.envelope, &mut self.intake),
            (None, Endpoint::Single(_)) => self.slow_single(body.text(), &receipt),
            (None, Endpoint::Batch) => self.slow_batch(body.text(), &mut receipt),
        };
        // An empty batch has nothing to keep.
        taken.inspect_err(|&reject| match reject {
            Reject::BatchEmpty => self.intake.begin(),
            reject => self.intake.set_aside_body(reject, body.text(), &receipt),
        })
    }

    fn slow_single(&mut self, body: &[u8], receipt: &Receipt<'_>) -> Result<(), Reject> {
        let (document, grown) = repaired(body, &mut self.parser, &mut self.repair)?;
        self.intake.take(Origin::whole(document, body, grown), receipt, &mut self.envelope)
    }

    /// Envelope by envelope: there may be several, one behind the other. The first is the request's, and its faults are;
    /// a body without a single whole element is refused too.
    fn slow_batch(&mut self, body: &[u8], receipt: &mut Receipt<'_>) -> Result<(), Reject> {
        self.outline.begin(body);
        let (mut at, mut is_first, mut has_whole) = (0, true, false);
        while let Some(part) = self.outline.next(body, at, &mut self.intake.decoder) {
            at = part.range.end;
            has_whole |= self.outline.elements.iter().any(|element| element.is_whole);
            match self.slow_part(body, &part, receipt, is_first) {
                Ok(()) => is_first = false,
                // Text that says nothing, before the envelope or instead of one.
                Err(Reject::BatchMissing) if is_first && !self.outline.strays.is_empty() => {}
                Err(reject) if is_first => return Err(reject),
                Err(reject) => {
                    let reject = if part.has_batch { reject } else { Reject::StrayText };
                    self.outline.strays.retain(|stray| stray.end <= part.range.start);
                    self.set_aside_strays(body, receipt);
                    if !part.range.is_empty() {
                        self.intake.set_aside_unread(reject, &body[part.range], 1, receipt);
                    }
                }
            }
        }
        if has_whole && !is_first { Ok(()) } else { Err(Reject::InvalidJson) }
    }

    fn slow_part(&mut self, body: &[u8], part: &Part, receipt: &mut Receipt<'_>, is_first: bool) -> Result<(), Reject> {
        let Self { parser, envelope, intake, outline, repair, .. } = self;
        let (document, _) = repaired(&outline.envelope, parser, repair)?;
        envelope.read(document, intake.unreadable, &mut intake.decoder)?;
        if !part.has_batch {
            return Err(Reject::BatchMissing);
        }
        if outline.elements.is_empty() && outline.beyond.events == 0 {
            return Err(Reject::BatchEmpty);
        }
        if is_first {
            intake.name_source(receipt, &envelope.write_key);
        } else {
            intake.rename_source(receipt, &envelope.write_key)?;
        }
        for &Element { start, end, is_whole } in &outline.elements {
            let client = &body[start as usize..end as usize];
            if !is_whole {
                intake.set_aside_unread(Reject::EventTorn, client, 1, receipt);
                continue;
            }
            match repaired(client, parser, repair) {
                Ok((document, grown)) => {
                    intake.take_or_set_aside(Origin::whole(document, client, grown), receipt, envelope);
                }
                Err(reject) => intake.set_aside_unread(reject, client, 1, receipt),
            }
        }
        intake.set_aside_beyond(body, outline.beyond, receipt);
        self.set_aside_strays(body, receipt);
        Ok(())
    }

    fn set_aside_strays(&mut self, body: &[u8], receipt: &Receipt<'_>) {
        for stray in &self.outline.strays {
            self.intake.set_aside_unread(Reject::StrayText, &body[stray.clone()], 1, receipt);
        }
    }
}

/// Takes the events of a batch whose body is JSON.
fn batch(
    document: Document<'_>,
    receipt: &mut Receipt<'_>,
    envelope: &mut BatchEnvelope,
    intake: &mut Intake,
) -> Result<(), Reject> {
    let batch = envelope.read(document, intake.unreadable, &mut intake.decoder)?;
    if document.is_empty_array(batch) {
        return Err(Reject::BatchEmpty);
    }
    intake.name_source(receipt, &envelope.write_key);
    let mut events = document.elements(batch);
    for value in events.by_ref().take(BATCH_EVENTS_MAX) {
        let origin = Origin { document, value, client: document.raw(value), grown: 0 };
        intake.take_or_set_aside(origin, receipt, envelope);
    }
    let mut beyond = Beyond::default();
    for value in events {
        beyond.push(value.start, value.end);
    }
    intake.set_aside_beyond(document.text(), beyond, receipt);
    Ok(())
}

/// A text that is no JSON, repaired; and how many bytes longer than the client's it is.
fn repaired<'a>(client: &[u8], parser: &'a mut Parser, repair: &mut Repair) -> Result<(Document<'a>, isize), Reject> {
    let grown = repair.run(client)?;
    let document = parser.parse(&repair.repaired).ok_or(Reject::InvalidJson)?;
    Ok((document, grown))
}
