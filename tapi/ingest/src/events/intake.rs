//! One event after the other, to a record each: taken or set aside. What one request knows of itself is its [`Receipt`].

use std::net::{IpAddr, Ipv4Addr};

use wire::envelope::{begin_event, begin_rejected};
use wire::limits::{EVENT_BYTES_MAX, MESSAGE_ID_BYTES_MAX};
use wire::{MessageId, SourceId};

use super::calendar::Calendar;
use super::current_source::CurrentSource;
use super::document::{Document, Kind, Value};
use super::ending::Ending;
use super::envelope::BatchEnvelope;
use super::event::{Event, MemberTable};
use super::hide_keys::hide_keys;
use super::ids::is_id;
use super::names::Name;
use super::outline::Beyond;
use super::random_id::RandomIds;
use super::readable::Unreadable;
use super::records::Records;
use super::set_aside::SetAside;
use super::splice::{self, TAIL_BYTES_MAX, Tail};
use super::text::Decoder;
use super::times::{Times, UnreadableTimes};
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
    pub(super) received_at: Text,
    client_ip: Option<Ipv4Addr>,
    /// Whether the address is only for events with `context.direct: true`.
    direct_only: bool,
    /// Whether request or envelope named the source; otherwise each event does.
    has_source: bool,
    /// Whether it was the head, whose key comes before those of every envelope.
    is_named_by_head: bool,
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
    ending: Ending,
    calendar: Calendar,
    pub(super) records: Records,
    accepted: usize,
    rejected: [usize; Reject::ALL.len()],
    /// Whether any write key of the request named a source.
    had_source: bool,
    /// Whether head or envelope had one that names none.
    has_unknown_key: bool,
    /// Whether head or envelope named the source of all events.
    pub(super) has_common_source: bool,
    pub(super) unreadable: Unreadable,
    pub(super) unreadable_times: UnreadableTimes,
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
            ending: Ending::default(),
            calendar: Calendar::default(),
            records: Records::default(),
            accepted: 0,
            rejected: [0; Reject::ALL.len()],
            had_source: false,
            has_unknown_key: false,
            has_common_source: false,
            unreadable: Unreadable::default(),
            unreadable_times: UnreadableTimes::default(),
        }
    }

    /// Forgets the last request.
    pub(super) fn begin(&mut self) {
        self.forget_events();
        self.records.trim();
        self.had_source = false;
        self.has_unknown_key = false;
        self.has_common_source = false;
    }

    fn forget_events(&mut self) {
        self.records.clear();
        self.accepted = 0;
        self.rejected = [0; Reject::ALL.len()];
        self.unreadable_times.clear();
    }

    /// Begins a request.
    pub(super) fn open<'a>(&mut self, request: &'a Request<'a>, sources: &'a Sources) -> Receipt<'a> {
        self.ending.clear();
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
            is_named_by_head: false,
            last_source: request.last_write_key.and_then(|key| sources.resolve(key)),
        };
        self.name_source(&mut receipt, request.write_key.unwrap_or_default());
        receipt.is_named_by_head = receipt.has_source;
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
            self.set_source(source);
            receipt.has_source = true;
            self.has_common_source = true;
        } else {
            self.has_unknown_key = true;
        }
    }

    /// Before an event is looked at, its source is that of the request, if it has one.
    fn begin_source(&mut self, receipt: &Receipt<'_>) {
        self.source.is_known = receipt.has_source;
        if let Some(source) = receipt.last_source.filter(|_| !receipt.has_source) {
            self.set_source(source);
        }
    }

    fn set_source(&mut self, source: SourceId<'_>) {
        if self.source.set(source) {
            self.ending.clear();
        }
        self.had_source = true;
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

    /// Whether there were write keys and none of them names a source.
    pub(super) fn has_only_unknown_keys(&self) -> bool {
        self.has_unknown_key && !self.had_source
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
            let key = key.map_or(&b""[..], |key| document.decode(document.string(key), &mut self.decoder).trim_ascii());
            if let Some(source) = receipt.sources.resolve(key) {
                if self.source.set(source) {
                    self.ending.clear();
                }
                self.had_source = true;
            } else if !self.source.is_known {
                let is_unknown = self.has_unknown_key || !key.is_empty();
                return Err(if is_unknown { Reject::UnknownWriteKey } else { Reject::MissingWriteKey });
            }
        }
        let type_name = event.present(Name::Type).filter(|&value| event.kind(value) == Kind::String);
        let type_name = type_name.map(|value| document.decode(document.string(value), &mut self.decoder));
        let event_type = validate(event, receipt.request.endpoint, type_name)?;
        self.unreadable.check(document, value, 0)?;

        let own_id = event.filled(Name::MessageId);
        let (own_id, quoted_id) = match own_id.map(|value| (event.kind(value), value)) {
            Some((Kind::String, value)) => (document.decode(document.string(value), &mut self.message_id), None),
            Some((Kind::Number, value)) => (event.raw(value), Some(event.raw(value))),
            _ => (&b""[..], None),
        };
        let (message_id, quoted_id) = if is_id(own_id) {
            (own_id, quoted_id)
        } else {
            let id = self.random_ids.next_id();
            (id, Some(id))
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
            ending: self.ending.of(&self.source.json, receipt, envelope),
            times: Times::of(event, envelope, receipt.request.received_at_ms, &mut self.calendar, &mut self.decoder),
        };
        if tail.times.is_unreadable {
            self.unreadable_times.count(&self.source.id);
        }
        let out = self.records.out();
        out.reserve(value_bytes_max);
        begin_event(out, self.source.id(), message_id, receipt.request.received_at_ms);
        splice::write_event(out, event, &tail, envelope, &mut self.calendar, &mut self.decoder);
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

    /// Keeps the body of a request that is refused, and nothing else of it, where a write key named its source. One that
    /// is too large, packed or not, is not kept: a bomb would take more room than it is worth.
    pub(super) fn set_aside_body(&mut self, reject: Reject, body: &[u8], receipt: &Receipt<'_>) {
        self.forget_events();
        if !self.had_source {
            self.begin_source(receipt);
        }
        if self.had_source && reject != Reject::BodyTooLarge && !body.trim_ascii().is_empty() {
            self.source.is_known = true;
            self.has_common_source = true;
            self.set_aside(reject, None, body, 1, receipt);
        }
    }

    /// Lets another envelope of the same body name its own source.
    ///
    /// # Errors
    /// [`Reject::UnknownWriteKey`] where its key names none; then nothing has changed.
    pub(super) fn rename_source(&mut self, receipt: &mut Receipt<'_>, key: &[u8]) -> Result<(), Reject> {
        let key = key.trim_ascii();
        if !receipt.is_named_by_head && !key.is_empty() {
            self.set_source(receipt.sources.resolve(key).ok_or(Reject::UnknownWriteKey)?);
            receipt.has_source = true;
            self.has_common_source = false;
        }
        self.ending.clear();
        Ok(())
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
        // Half of a surrogate pair is no UTF-8, and would make the record as unreadable as the event.
        let is_text = text.is_some_and(|text| std::str::from_utf8(text.as_bytes()).is_ok());
        let message_id = message_id.filter(|_| is_text || self.unreadable == Unreadable::Pass);
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
        let last = named.filter(|&member| document.name_of(member, &mut self.decoder) == Name::MessageId).last()?;
        let raw = match document.kind(last.value) {
            Kind::String => document.string(last.value),
            Kind::Number => document.raw(last.value),
            _ => return None,
        };
        MessageId::try_new(self.message_id.decode(raw)).map(|_| raw)
    }
}

fn value_bytes(value: Value) -> usize {
    (value.end - value.start) as usize
}

/// Whether the event says that it came from the user's own device although its path is one for servers.
fn is_direct(event: Event<'_>, decoder: &mut Decoder) -> bool {
    let context = event.get(Name::Context).filter(|&context| event.kind(context) == Kind::Object);
    let mut members = context.into_iter().flat_map(|context| event.document.members(context));
    members.any(|member| {
        event.document.decode(event.document.name(member), decoder) == b"direct" && event.raw(member.value) == b"true"
    })
}

/// `context.ip` is IPv4 or not there, as with Segment.
fn ipv4(address: IpAddr) -> Option<Ipv4Addr> {
    match address {
        IpAddr::V4(address) => Some(address),
        IpAddr::V6(address) => address.to_ipv4_mapped(),
    }
}
