//! One event after the other, to a record each: taken or set aside. What one request knows of itself is its [`Receipt`].

use std::net::{IpAddr, Ipv4Addr};

use wire::envelope::{begin_event, begin_rejected};
use wire::limits::{EVENT_BYTES_MAX, MESSAGE_ID_BYTES_MAX};
use wire::{MessageId, SourceId};

use super::document::{Document, Kind, Value};
use super::envelope::BatchEnvelope;
use super::event::{Event, MemberTable};
use super::hide_keys::hide_keys;
use super::names::Name;
use super::outline::Beyond;
use super::random_id::RandomIds;
use super::records::Records;
use super::set_aside::SetAside;
use super::splice::{self, TAIL_BYTES_MAX, Tail};
use super::text::{Decoder, write_string};
use super::times::Times;
use super::timestamp::{self, Text};
use super::validate::validate;
use super::{Accepted, RECORDS_BYTES_MAX};
use crate::reject::Reject;
use crate::request::{ClientIp, Request};
use crate::sources::Sources;

/// The source of set-aside events that no write key gave a source. Nothing is deduplicated by it.
pub(crate) const SOURCE_UNKNOWN: &[u8] = b"(unknown)";

/// What holds for all events of a request.
pub(super) struct Receipt<'a> {
    request: &'a Request<'a>,
    sources: &'a Sources,
    received_at: Text,
    client_ip: Option<Ipv4Addr>,
    /// Whether the address is only for events with `context.direct: true`.
    direct_only: bool,
    /// Whether request or envelope named the source; otherwise each event does.
    has_source: bool,
    /// The source of events that name none.
    last_source: Option<SourceId<'a>>,
}

/// Where an event is.
#[derive(Clone, Copy)]
pub(super) struct Origin<'a> {
    pub(super) document: Document<'a>,
    pub(super) value: Value,
    /// The client's own bytes.
    pub(super) client: &'a [u8],
    /// How many bytes longer than those the value is, after a repair.
    pub(super) grown: isize,
}

impl<'a> Origin<'a> {
    /// An event that is all of its document.
    pub(super) fn whole(document: Document<'a>, client: &'a [u8], grown: isize) -> Self {
        Self { document, value: document.root(), client, grown }
    }
}

/// The reused room for one event, and what has become of the request's events so far.
pub(super) struct Intake {
    members: MemberTable,
    pub(super) decoder: Decoder,
    message_id: Decoder,
    random_ids: RandomIds,
    /// A refused event without its write keys.
    masked: Vec<u8>,
    source: CurrentSource,
    pub(super) records: Records,
    accepted: usize,
    rejected: [usize; Reject::ALL.len()],
    /// Whether any write key of the request named a source.
    had_source: bool,
    /// Whether head or envelope had one that names none.
    has_unknown_key: bool,
    /// Whether head or envelope named the source of all events.
    pub(super) has_common_source: bool,
}

impl Intake {
    pub(super) fn new() -> Self {
        Self {
            members: MemberTable::new(),
            decoder: Decoder::default(),
            message_id: Decoder::default(),
            random_ids: RandomIds::new(),
            masked: Vec::new(),
            source: CurrentSource::default(),
            records: Records::default(),
            accepted: 0,
            rejected: [0; Reject::ALL.len()],
            had_source: false,
            has_unknown_key: false,
            has_common_source: false,
        }
    }

    /// Forgets the last request.
    pub(super) fn begin(&mut self) {
        self.records.clear();
        self.records.trim();
        self.accepted = 0;
        self.rejected = [0; Reject::ALL.len()];
        self.had_source = false;
        self.has_unknown_key = false;
        self.has_common_source = false;
    }

    /// Begins a request.
    pub(super) fn open<'a>(&mut self, request: &'a Request<'a>, sources: &'a Sources) -> Receipt<'a> {
        let (client_ip, direct_only) = match request.client_ip {
            None => (None, false),
            Some(ClientIp::All(ip)) => (ipv4(ip), false),
            Some(ClientIp::Direct(ip)) => (ipv4(ip), true),
        };
        let mut receipt = Receipt {
            request,
            sources,
            received_at: timestamp::format(request.received_at_ms),
            client_ip,
            direct_only,
            has_source: false,
            last_source: request.last_write_key.and_then(|key| sources.resolve(key)),
        };
        self.name_source(&mut receipt, request.write_key.unwrap_or_default());
        receipt
    }

    /// Lets `key` name the source of all events, unless something else already has. A key that names none does not end
    /// the search.
    pub(super) fn name_source(&mut self, receipt: &mut Receipt<'_>, key: &[u8]) {
        let key = key.trim_ascii();
        if receipt.has_source || key.is_empty() {
            return;
        }
        if let Some(source) = receipt.sources.resolve(key) {
            self.source.set(source);
            receipt.has_source = true;
            self.had_source = true;
            self.has_common_source = true;
        } else {
            self.has_unknown_key = true;
        }
    }

    /// Before an event is looked at, its source is that of the request, if it has one.
    fn begin_source(&mut self, receipt: &Receipt<'_>) {
        self.source.is_known = receipt.has_source;
        if let Some(source) = receipt.last_source.filter(|_| !receipt.has_source) {
            self.source.set(source);
            self.had_source = true;
        }
    }

    /// What the request is answered.
    ///
    /// # Errors
    /// Where no write key of the request named a source, the reason.
    pub(super) fn outcome(&self) -> Result<Accepted, Reject> {
        if !self.had_source {
            let is_unknown = self.has_unknown_key || self.rejected[Reject::UnknownWriteKey as usize] > 0;
            return Err(if is_unknown { Reject::UnknownWriteKey } else { Reject::MissingWriteKey });
        }
        Ok(Accepted { events: self.accepted, rejected: self.rejected.iter().sum() })
    }

    pub(super) fn rejects(&self) -> impl Iterator<Item = (Reject, usize)> {
        let counts = Reject::ALL.iter().map(|&reject| (reject, self.rejected[reject as usize]));
        counts.filter(|&(_, count)| count > 0)
    }

    /// Takes an event of a batch, or sets it aside with the reason.
    pub(super) fn take_or_set_aside(
        &mut self,
        origin: Origin<'_>,
        receipt: &Receipt<'_>,
        envelope: &mut BatchEnvelope,
    ) {
        if let Err(reject) = self.take(origin, receipt, envelope) {
            let message_id = self.read_message_id(origin);
            self.set_aside(reject, message_id, origin.client, 1, receipt);
        }
    }

    /// Writes the record of one event.
    ///
    /// # Errors
    /// The reason against the event; then nothing was written.
    pub(super) fn take(
        &mut self,
        origin: Origin<'_>,
        receipt: &Receipt<'_>,
        envelope: &mut BatchEnvelope,
    ) -> Result<(), Reject> {
        let Origin { document, value, grown, .. } = origin;
        self.begin_source(receipt);
        if document.kind(value) != Kind::Object {
            return Err(Reject::EventNotObject);
        }
        if value_bytes(value) as isize - grown > EVENT_BYTES_MAX as isize
            && document.compact_bytes(value) as isize - grown > EVENT_BYTES_MAX as isize
        {
            return Err(Reject::EventTooLarge);
        }

        let event = self.members.read(document, value, &mut self.decoder);
        if !receipt.has_source {
            let key = event.present(Name::WriteKey).filter(|&key| event.kind(key) == Kind::String);
            let key = key.map_or(&b""[..], |key| self.decoder.decode(document.string(key)).trim_ascii());
            if let Some(source) = receipt.sources.resolve(key) {
                self.source.set(source);
                self.had_source = true;
            } else if !self.source.is_known {
                let is_unknown = self.has_unknown_key || !key.is_empty();
                return Err(if is_unknown { Reject::UnknownWriteKey } else { Reject::MissingWriteKey });
            }
        }
        let type_name = event.present(Name::Type).filter(|&value| event.kind(value) == Kind::String);
        let type_name = type_name.map(|value| self.decoder.decode(document.string(value)));
        let event_type = validate(event, receipt.request.endpoint, type_name)?;

        let own_id = event.filled(Name::MessageId);
        let (message_id, quoted_id) = match own_id.map(|value| (event.kind(value), value)) {
            Some((Kind::String, value)) => (self.message_id.decode(document.string(value)), None),
            Some((Kind::Number, value)) => (event.raw(value), Some(event.raw(value))),
            _ => {
                let id = self.random_ids.next_id();
                (id, Some(id))
            }
        };
        let message_id = MessageId::try_new(message_id).ok_or(Reject::MessageIdTooLong)?;

        let value_bytes_max = value_bytes(value).min(EVENT_BYTES_MAX + grown.unsigned_abs())
            + TAIL_BYTES_MAX
            + envelope.bytes()
            + self.source.json.len()
            + MESSAGE_ID_BYTES_MAX;
        if self.records.bytes() + value_bytes_max > RECORDS_BYTES_MAX {
            return Err(Reject::ExpandsTooMuch);
        }

        let is_filled = |_: &_| !receipt.direct_only || is_direct(event, &mut self.decoder);
        let client_ip = receipt.client_ip.filter(is_filled);
        let tail = Tail {
            event_type,
            message_id: quoted_id,
            client_ip,
            source: &self.source.json,
            received_at: &receipt.received_at,
            times: Times::of(event, envelope, receipt.request.received_at_ms, &mut self.decoder),
        };
        let out = self.records.out();
        out.reserve(value_bytes_max);
        begin_event(out, self.source.id(), message_id, receipt.request.received_at_ms);
        splice::write_event(out, event, &tail, envelope, &mut self.decoder);
        self.records.end();
        self.accepted += 1;
        Ok(())
    }

    /// Sets the events beyond the batch's limit aside, all in one record: a megabyte of `1,1,1` must not become a record
    /// each.
    pub(super) fn set_aside_beyond(&mut self, body: &[u8], beyond: Beyond, receipt: &Receipt<'_>) {
        if beyond.events > 0 {
            let client = &body[beyond.start as usize..beyond.end as usize];
            self.set_aside_unread(Reject::BatchTooLong, client, beyond.events, receipt);
        }
    }

    /// Sets aside what was not even looked at as an event.
    pub(super) fn set_aside_unread(&mut self, reject: Reject, client: &[u8], events: usize, receipt: &Receipt<'_>) {
        self.begin_source(receipt);
        self.set_aside(reject, None, client, events, receipt);
    }

    fn set_aside(
        &mut self,
        reject: Reject,
        message_id: Option<&[u8]>,
        client: &[u8],
        events: usize,
        receipt: &Receipt<'_>,
    ) {
        self.rejected[reject as usize] += events;
        let (source, source_json) = if self.source.is_known {
            (self.source.id(), Some(&self.source.json[..]))
        } else {
            (SourceId::try_new(SOURCE_UNKNOWN).expect("within its bounds"), None)
        };
        let out = self.records.out();
        let text = message_id.and_then(|raw| MessageId::try_new(self.message_id.decode(raw)));
        begin_rejected(out, source, text, receipt.request.received_at_ms);
        let raw = hide_keys(client, &mut self.masked);
        SetAside { reject, source: source_json, received_at: &receipt.received_at, message_id, events, raw }.write(out);
        self.records.end();
    }

    /// The messageId of a refused event as the client wrote it, without quotes; `None` where it has none that would have
    /// counted.
    fn read_message_id<'a>(&mut self, origin: Origin<'a>) -> Option<&'a [u8]> {
        let Origin { document, value, .. } = origin;
        if document.kind(value) != Kind::Object {
            return None;
        }
        let named = document.members(value);
        let last =
            named.filter(|&member| Name::of(document.name(member), &mut self.decoder) == Name::MessageId).last()?;
        let raw = match document.kind(last.value) {
            Kind::String => document.string(last.value),
            Kind::Number => document.raw(last.value),
            _ => return None,
        };
        MessageId::try_new(self.message_id.decode(raw)).map(|_| raw)
    }
}

/// The source of the event at hand, kept between events and requests because it seldom changes.
#[derive(Default)]
struct CurrentSource {
    id: Vec<u8>,
    /// As a JSON string.
    json: Vec<u8>,
    /// Whether it is that of the event at hand.
    is_known: bool,
}

impl CurrentSource {
    fn set(&mut self, source: SourceId<'_>) {
        self.is_known = true;
        if self.id == source.as_bytes() {
            return;
        }
        self.id.clear();
        self.id.extend_from_slice(source.as_bytes());
        self.json.clear();
        write_string(&mut self.json, &self.id);
    }

    fn id(&self) -> SourceId<'_> {
        SourceId::try_new(&self.id).expect("set from a source's id")
    }
}

fn value_bytes(value: Value) -> usize {
    (value.end - value.start) as usize
}

/// Whether the event says that it came from the user's own device although its path is one for servers.
fn is_direct(event: Event<'_>, decoder: &mut Decoder) -> bool {
    let context = event.get(Name::Context).filter(|&context| event.kind(context) == Kind::Object);
    let mut members = context.into_iter().flat_map(|context| event.document.members(context));
    members.any(|member| decoder.decode(event.document.name(member)) == b"direct" && event.raw(member.value) == b"true")
}

/// `context.ip` is IPv4 or not there, as with Segment.
fn ipv4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(address) => address.to_ipv4_mapped(),
    }
}
