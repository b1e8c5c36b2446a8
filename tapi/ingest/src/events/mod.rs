//! The body of a request, to records of the local buffer. Pure: bytes, time and sources come in as values.
//!
//! ```text
//!  body ──simd-json──▶ tokens ──▶ envelope ──▶ each event: members ▶ validate ▶ times ▶ splice ──▶ record
//!    │ refuses                                     ▲    │ refused
//!    └─▶ outline ─▶ each event: repair ─simd-json──┘    └─▶ set aside ──▶ record
//! ```
//!
//! * **Fast path.** One pass of simd-json over the whole body says that it is JSON and where its tokens start
//!   ([`parser`]); walking those gives the exact bytes of each event and member ([`document`]). What goes out is spliced
//!   from the client's own bytes ([`splice`]). There is no tree of values, and once warm there is no allocation.
//! * **Slow path.** simd-json refuses a whole document for one `NaN`, and real SDKs send that. Then a tolerant scanner
//!   finds the events ([`outline`]), what can be repaired is ([`repair`]), and each event takes the fast path by itself.
//!   A fault costs the event it is in; only one in the envelope costs the batch.
//! * An event that is refused inside a batch is a record too, with its reason and bytes ([`set_aside`]); a single event
//!   that is refused is answered with that reason.
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
//! * `timestamp` becomes `receivedAt - (sentAt - timestamp)`, and the client's own goes out as `originalTimestamp`.
//! * White space between tokens goes where it has line ends or is beyond the size limit.
//!
//! A text may hold a surrogate without its partner, as an escape (`"\ud800"`): clients send it, so readers meet it.

mod document;
mod envelope;
mod event;
mod hide_keys;
mod intake;
mod names;
mod outline;
mod pairs;
mod parser;
mod random_id;
mod records;
mod repair;
mod set_aside;
mod shared;
mod splice;
mod text;
mod times;
mod timestamp;
mod validate;

#[cfg(test)]
mod tests;

use wire::limits::{BATCH_EVENTS_MAX, REQUEST_BYTES_MAX};

use self::document::Document;
use self::envelope::BatchEnvelope;
pub(crate) use self::intake::SOURCE_UNKNOWN;
use self::intake::{Intake, Origin, Receipt};
use self::outline::{Beyond, Outline};
use self::parser::Parser;
use self::repair::Repair;
pub use self::text::Decoder;
pub(crate) use self::text::write_string;
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
            parser: Parser::new(),
            envelope: BatchEnvelope::default(),
            intake: Intake::new(),
            outline: Outline::default(),
            repair: Repair::default(),
        }
    }

    /// The records of the last request, events and set-aside ones in the order of the batch; none if it was refused.
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
/// path for single events, the fault of the event. Then there are no records.
pub fn ingest(
    body: &[u8],
    request: &Request<'_>,
    sources: &Sources,
    scratch: &mut Scratch,
) -> Result<Accepted, Reject> {
    scratch.begin();
    let outcome = scratch.run(body, request, sources);
    scratch.finish(outcome)
}

impl Scratch {
    fn begin(&mut self) {
        self.parser.trim();
        self.intake.begin();
        self.envelope.clear();
    }

    fn finish(&mut self, outcome: Result<(), Reject>) -> Result<Accepted, Reject> {
        let outcome = outcome.and_then(|()| self.intake.outcome());
        if outcome.is_err() {
            self.intake.begin();
        }
        outcome
    }

    fn run(&mut self, body: &[u8], request: &Request<'_>, sources: &Sources) -> Result<(), Reject> {
        if body.len() > REQUEST_BYTES_MAX {
            return Err(Reject::BodyTooLarge);
        }
        if body.trim_ascii_start().is_empty() {
            return Err(Reject::BodyEmpty);
        }
        let mut receipt = self.intake.open(request, sources);
        match (self.parser.parse(body), request.endpoint) {
            (Some(document), Endpoint::Single(_)) => {
                self.intake.take(Origin::whole(document, body, 0), &receipt, &mut self.envelope)
            }
            (Some(document), Endpoint::Batch) => batch(document, &mut receipt, &mut self.envelope, &mut self.intake),
            (None, Endpoint::Single(_)) => self.slow_single(body, &receipt),
            (None, Endpoint::Batch) => self.slow_batch(body, &mut receipt),
        }
    }

    fn slow_single(&mut self, body: &[u8], receipt: &Receipt<'_>) -> Result<(), Reject> {
        let (document, grown) = repaired(body, &mut self.parser, &mut self.repair)?;
        self.intake.take(Origin::whole(document, body, grown), receipt, &mut self.envelope)
    }

    fn slow_batch(&mut self, body: &[u8], receipt: &mut Receipt<'_>) -> Result<(), Reject> {
        let Self { parser, envelope, intake, outline, repair } = self;
        outline.read(body, &mut intake.decoder)?;
        let (document, _) = repaired(&outline.envelope, parser, repair)?;
        envelope.read(document, &mut intake.decoder)?;
        if outline.events.is_empty() {
            return Err(Reject::BatchEmpty);
        }
        intake.name_source(receipt, &envelope.write_key);
        for &(start, end) in &outline.events {
            let client = &body[start as usize..end as usize];
            match repaired(client, parser, repair) {
                Ok((document, grown)) => {
                    intake.take_or_set_aside(Origin::whole(document, client, grown), receipt, envelope);
                }
                Err(reject) => intake.set_aside_unread(reject, client, 1, receipt),
            }
        }
        intake.set_aside_beyond(body, outline.beyond, receipt);
        Ok(())
    }
}

/// Takes the events of a batch whose body simd-json accepted.
fn batch(
    document: Document<'_>,
    receipt: &mut Receipt<'_>,
    envelope: &mut BatchEnvelope,
    intake: &mut Intake,
) -> Result<(), Reject> {
    let batch = envelope.read(document, &mut intake.decoder)?;
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

/// A text that simd-json refused, made acceptable to it; and how many bytes longer than the client's it is.
fn repaired<'a>(
    client: &[u8],
    parser: &'a mut Parser,
    repair: &'a mut Repair,
) -> Result<(Document<'a>, isize), Reject> {
    let grown = repair.run(client)?;
    let document = parser.parse_masked(&repair.repaired, &repair.masked).ok_or(Reject::InvalidJson)?;
    Ok((document, grown))
}
