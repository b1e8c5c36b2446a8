//! One event's value as it goes out: the client's members in their order and own bytes, and behind them what the server
//! says. Numbers, escapes and unknown members come out as they came in; nothing is decoded and encoded again.
//!
//! The tail is `type` (where the path said it), `messageId` (where the client did not), `context` and `integrations`
//! (where something was merged into them), `originalTimestamp`, `timestamp`, `sentAt` (the envelope's), `source`,
//! `receivedAt`. The client's own members of these names are left out, so that each name is there once.

use std::net::Ipv4Addr;

use memchr::memchr2;
use wire::limits::EVENT_BYTES_MAX;

use super::calendar::Calendar;
use super::document::{Document, Kind, Member};
use super::ending::Ends;
use super::envelope::BatchEnvelope;
use super::event::{Event, NamedMember};
use super::names::Name;
use super::text::Decoder;
use super::times::Times;
use crate::request::EventType;

/// Bytes that the tail takes at most, without source, messageId and what the envelope adds.
pub(super) const TAIL_BYTES_MAX: usize = 320;

/// What the server says of an event.
pub(super) struct Tail<'a> {
    pub(super) event_type: EventType,
    /// The messageId, where it is not the client's own string; needs no escapes.
    pub(super) message_id: Option<&'a [u8]>,
    /// `context.ip` for an event that has none.
    pub(super) client_ip: Option<Ipv4Addr>,
    /// What the value ends with.
    pub(super) ending: Ends<'a>,
    pub(super) times: Times,
}

/// What happens to a member of the client's.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Action {
    Keep,
    Drop,
    /// A number where a string belongs: quotes are put around it.
    Quote,
    /// `[]` where an object belongs.
    EmptyObject,
}

/// Appends the value of `event` to `out`, on one line.
pub(super) fn write_event(
    out: &mut Vec<u8>,
    event: Event<'_>,
    tail: &Tail<'_>,
    envelope: &mut BatchEnvelope,
    calendar: &mut Calendar,
    decoder: &mut Decoder,
) {
    let document = event.document;
    let raw = event.raw(event.object);
    // White space is kept where it does no harm: a line's end would, and so would padding beyond the size limit.
    let compact = raw.len() > EVENT_BYTES_MAX || (document.has_line_end() && memchr2(b'\n', b'\r', raw).is_some());
    let merges_context = merges(event, Name::Context, !envelope.context.is_empty() || tail.client_ip.is_some());
    let merges_integrations = merges(event, Name::Integrations, !envelope.integrations.is_empty());
    let actions = actions(event, tail, merges_context, merges_integrations);

    out.push(b'{');
    let mut members = Writer { document, out, compact, is_first: true, run: Run::default() };
    for (index, NamedMember { name, member }) in event.members.iter().enumerate() {
        let action = match name {
            Name::Other => Action::Keep,
            _ if !event.counts(index) => Action::Drop,
            _ => actions[*name as usize],
        };
        members.write(member, action);
    }
    members.flush();
    let mut separator: &[u8] = if members.is_first { b"" } else { b"," };
    let mut begin = |out: &mut Vec<u8>, name: &[u8]| {
        out.extend_from_slice(separator);
        out.extend_from_slice(name);
        separator = b",";
    };

    if event.present(Name::Type).is_none() {
        begin(out, b"\"type\":\"");
        out.extend_from_slice(type_text(tail.event_type));
        out.push(b'"');
    }
    if let Some(message_id) = tail.message_id {
        begin(out, b"\"messageId\":\"");
        out.extend_from_slice(message_id);
        out.push(b'"');
    }
    if merges_context {
        begin(out, b"\"context\":{");
        let start = out.len();
        write_inside(out, event, Name::Context, compact);
        let own = event.get(Name::Context).filter(|&value| event.kind(value) == Kind::Object);
        let has_ip = envelope.context.merge(document, own, b"ip", decoder, out);
        if let Some(client_ip) = tail.client_ip.filter(|_| !has_ip) {
            if out.len() > start {
                out.push(b',');
            }
            out.extend_from_slice(b"\"ip\":\"");
            write_ip(out, client_ip);
            out.push(b'"');
        }
        out.push(b'}');
    }
    if merges_integrations {
        begin(out, b"\"integrations\":{");
        write_inside(out, event, Name::Integrations, compact);
        let own = event.get(Name::Integrations).filter(|&value| event.kind(value) == Kind::Object);
        envelope.integrations.merge(document, own, b"", decoder, out);
        out.push(b'}');
    }
    if let Some((Name::Timestamp, value)) = tail.times.original {
        begin(out, b"\"originalTimestamp\":");
        document.write_compact(value.mark, value.mark_end, out);
    }
    begin(out, b"\"timestamp\":\"");
    out.extend_from_slice(&calendar.format(tail.times.timestamp_ms));
    out.push(b'"');
    out.extend_from_slice(tail.ending.text(event.filled(Name::SentAt).is_some()));
}

/// Whether there is something to merge into an object of the event's. What is neither object, `[]` nor `null` is the
/// client's statement, and stays.
fn merges(event: Event<'_>, name: Name, has_something: bool) -> bool {
    has_something
        && event
            .present(name)
            .is_none_or(|value| event.kind(value) == Kind::Object || event.document.is_empty_array(value))
}

fn actions(
    event: Event<'_>,
    tail: &Tail<'_>,
    merges_context: bool,
    merges_integrations: bool,
) -> [Action; Name::COUNT] {
    let mut actions = [Action::Keep; Name::COUNT];
    let mut set = |name: Name, action| actions[name as usize] = action;
    for name in [Name::Timestamp, Name::ReceivedAt, Name::Source, Name::WriteKey] {
        set(name, Action::Drop);
    }
    if !matches!(tail.times.original, Some((Name::OriginalTimestamp, _))) {
        set(Name::OriginalTimestamp, Action::Drop);
    }
    if tail.message_id.is_some() {
        set(Name::MessageId, Action::Drop);
    }
    if event.present(Name::Type).is_none() {
        set(Name::Type, Action::Drop);
    }
    if event.filled(Name::SentAt).is_none() {
        set(Name::SentAt, Action::Drop);
    }
    for name in [Name::UserId, Name::AnonymousId, Name::PreviousId, Name::GroupId] {
        if event.get(name).is_some_and(|value| event.kind(value) == Kind::Number) {
            set(name, Action::Quote);
        }
    }
    for (name, merges) in [
        (Name::Properties, false),
        (Name::Traits, false),
        (Name::Context, merges_context),
        (Name::Integrations, merges_integrations),
    ] {
        if merges {
            set(name, Action::Drop);
        } else if event.get(name).is_some_and(|value| event.document.is_empty_array(value)) {
            set(name, Action::EmptyObject);
        }
    }
    actions
}

/// The client's members. Neighbours that are kept go out in one piece.
struct Writer<'a> {
    document: Document<'a>,
    out: &'a mut Vec<u8>,
    compact: bool,
    is_first: bool,
    run: Run,
}

/// Neighbours that are kept and not written yet: their bytes and their tokens. Empty where both ends are 0.
#[derive(Default)]
struct Run {
    start: u32,
    end: u32,
    mark: u32,
    mark_end: u32,
}

impl Writer<'_> {
    #[inline]
    fn write(&mut self, member: &Member, action: Action) {
        if action == Action::Keep {
            if self.run.end == 0 {
                self.run.start = member.name_start - 1;
                self.run.mark = member.mark;
            }
            self.run.end = member.value.end;
            self.run.mark_end = member.value.mark_end;
            return;
        }
        self.flush();
        if action == Action::Drop {
            return;
        }
        self.separate();
        self.out.push(b'"');
        self.out.extend_from_slice(self.document.name(*member));
        self.out.extend_from_slice(b"\":");
        if action == Action::EmptyObject {
            self.out.extend_from_slice(b"{}");
        } else {
            self.out.push(b'"');
            self.out.extend_from_slice(self.document.raw(member.value));
            self.out.push(b'"');
        }
    }

    fn flush(&mut self) {
        let run = std::mem::take(&mut self.run);
        if run.end == 0 {
            return;
        }
        self.separate();
        if self.compact {
            self.document.write_compact(run.mark, run.mark_end, self.out);
        } else {
            self.out.extend_from_slice(&self.document.text()[run.start as usize..run.end as usize]);
        }
    }

    fn separate(&mut self) {
        if !std::mem::take(&mut self.is_first) {
            self.out.push(b',');
        }
    }
}

/// Appends what an object of the event's has between its braces.
fn write_inside(out: &mut Vec<u8>, event: Event<'_>, name: Name, compact: bool) {
    let Some(value) = event.get(name) else { return };
    if event.kind(value) != Kind::Object {
        return;
    }
    if compact {
        event.document.write_compact(value.mark + 1, value.mark_end - 1, out);
    } else {
        let raw = event.raw(value);
        out.extend_from_slice(raw[1..raw.len() - 1].trim_ascii());
    }
}

fn write_ip(out: &mut Vec<u8>, ip: Ipv4Addr) {
    for (index, octet) in ip.octets().into_iter().enumerate() {
        if index > 0 {
            out.push(b'.');
        }
        out.extend_from_slice(itoa::Buffer::new().format(octet).as_bytes());
    }
}

const fn type_text(event_type: EventType) -> &'static [u8] {
    match event_type {
        EventType::Track => b"track",
        EventType::Identify => b"identify",
        EventType::Page => b"page",
        EventType::Screen => b"screen",
        EventType::Group => b"group",
        EventType::Alias => b"alias",
    }
}
