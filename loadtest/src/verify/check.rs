//! One line of the output against the event it claims to be.
//!
//! The bytes of every member are compared with those that were sent, which is stronger than a checksum of them and
//! costs no more, as the event has to be made again either way.

use super::expectation::{Expectations, Run};
use crate::events::parse_id;
use crate::request::ENVELOPE_CONTEXT;
use crate::skim::{self, Malformed, Member, string_content};
use crate::template::{MARKER_KEY, value_of};

/// Bytes of a foreign id that are shown.
const SHOWN_BYTES_MAX: usize = 100;
/// Members whose value the server decides, or may add: each at most once.
const MANAGED: [&[u8]; 6] = [b"messageId", b"timestamp", b"originalTimestamp", b"receivedAt", b"source", b"sentAt"];
/// Of those, the last need not be there.
const MANAGED_REQUIRED: u32 = 0b01_1111;

/// What a line turned out to be. An event that was recognised has been counted.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Line {
    /// An event as it was sent.
    Good,
    /// An event of ours, with something else in this member.
    Changed { id: String, member: String },
    /// Nothing that these runs sent, though it says that it is theirs; the id that it shows.
    Foreign(String),
    /// Somebody else's, and its id: what another run sent, or another source.
    Elsewhere(Whose, String),
    /// Not a JSON object.
    Malformed,
}

/// Who sent what these runs did not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Whose {
    /// Another run of the load generator: an event with another seed.
    OtherRun,
    /// A source that is none of these runs'.
    OtherSource,
}

/// Buffers that are reused from line to line.
#[derive(Default)]
pub(super) struct Checker {
    members: Vec<Member>,
    inner: Vec<Member>,
    event: Vec<u8>,
}

impl Checker {
    pub(super) fn check(&mut self, line: &[u8], expectations: &Expectations) -> Line {
        if skim::members(line, &mut self.members).is_err() {
            return Line::Malformed;
        }
        let shown_id = value_of(line, &self.members, b"messageId").and_then(|place| string_content(&line[place]));
        let by_id = shown_id.and_then(parse_id);
        let Some((seed, number)) = by_id.or_else(|| self.marker(line)) else {
            let source = value_of(line, &self.members, b"source").and_then(|place| string_content(&line[place]));
            let is_ours = source.is_some_and(|source| expectations.runs.iter().any(|run| run.is_source(source)));
            // Without a source it did not come through a server as these are, so nobody is known who could have sent it.
            let whose = source.filter(|_| !is_ours).map(|_| Whose::OtherSource);
            return whose
                .map_or_else(|| Line::Foreign(shown(shown_id)), |whose| Line::Elsewhere(whose, shown(shown_id)));
        };
        let Some(run) = expectations.run_of(seed) else {
            return Line::Elsewhere(Whose::OtherRun, shown(shown_id));
        };
        if !run.is_known(number) {
            return Line::Foreign(shown(shown_id));
        }
        run.see(number);
        let id = || run.events.id(number);
        if by_id.is_some() == run.events.plan().lacks_message_id(number) {
            return Line::Changed { id: id(), member: "messageId".to_owned() };
        }
        match self.difference(line, run, number) {
            None => Line::Good,
            Some(member) => Line::Changed { id: id(), member },
        }
    }

    /// Seed and number of an event that was sent without a messageId.
    fn marker(&mut self, line: &[u8]) -> Option<(u64, u64)> {
        [&b"properties"[..], b"traits", b"context"].into_iter().find_map(|key| {
            let text = &line[value_of(line, &self.members, key)?];
            skim::members(text, &mut self.inner).ok()?;
            parse_id(string_content(&text[value_of(text, &self.inner, MARKER_KEY.as_bytes())?])?)
        })
    }

    /// The first member that is not as it must be.
    fn difference(&mut self, line: &[u8], run: &Run, number: u64) -> Option<String> {
        let template = run.events.template(number);
        self.event.clear();
        run.events.write(number, &mut self.event);
        let event = &self.event[..];
        let sent_value = |key: &[u8]| value_of(event, &template.members, key).map(|place| &event[place]);

        let (mut sent_seen, mut managed_seen) = (0_u32, 0_u32);
        for member in &self.members {
            let (key, value) = (&line[member.key.clone()], &line[member.value.clone()]);
            if let Some(index) = template.members.iter().position(|sent| &event[sent.key.clone()] == key) {
                let is_again = sent_seen & 1 << index != 0;
                sent_seen |= 1 << index;
                let is_same = match key {
                    b"timestamp" => is_text(value),
                    b"context" => {
                        let is_required = run.events.plan().is_always_batch();
                        is_same_context(value, event, &template.context, is_required, &mut self.inner)
                    }
                    _ => value == &event[template.members[index].value.clone()],
                };
                if is_again || !is_same {
                    return Some(name(key));
                }
            }
            let Some(index) = MANAGED.iter().position(|managed| *managed == key) else {
                if sent_value(key).is_none() {
                    return Some(name(key));
                }
                continue;
            };
            let is_good = match key {
                b"originalTimestamp" => Some(value) == sent_value(b"timestamp"),
                b"source" => string_content(value).is_some_and(|source| run.is_source(source)),
                _ => is_text(value),
            };
            if managed_seen & 1 << index != 0 || !is_good {
                return Some(name(key));
            }
            managed_seen |= 1 << index;
        }
        let missing = (0..template.members.len()).find(|index| sent_seen & 1 << index == 0);
        if let Some(index) = missing {
            return Some(name(&event[template.members[index].key.clone()]));
        }
        let lacking = MANAGED_REQUIRED & !managed_seen;
        (lacking != 0).then(|| name(MANAGED[lacking.trailing_zeros() as usize]))
    }
}

/// The event's own context, the envelope's library, perhaps the client's address, and nothing else.
fn is_same_context(
    context: &[u8],
    event: &[u8],
    sent: &[Member],
    needs_library: bool,
    inner: &mut Vec<Member>,
) -> bool {
    if skim::members(context, inner) == Err(Malformed) {
        return false;
    }
    let mut own = 0;
    let mut has_library = false;
    for (index, member) in inner.iter().enumerate() {
        let (key, value) = (&context[member.key.clone()], &context[member.value.clone()]);
        if inner[..index].iter().any(|earlier| &context[earlier.key.clone()] == key) {
            return false;
        }
        if let Some(member) = sent.iter().find(|sent| &event[sent.key.clone()] == key) {
            own += 1;
            if value != &event[member.value.clone()] {
                return false;
            }
        } else if key == b"library" {
            has_library = true;
            if Some(value) != library() {
                return false;
            }
        } else if key != b"ip" {
            return false;
        }
    }
    own == sent.len() && (has_library || !needs_library)
}

fn library() -> Option<&'static [u8]> {
    ENVELOPE_CONTEXT.strip_prefix(r#"{"library":"#)?.strip_suffix('}').map(str::as_bytes)
}

fn is_text(value: &[u8]) -> bool {
    string_content(value).is_some_and(|text| !text.is_empty())
}

fn name(key: &[u8]) -> String {
    shown(Some(key))
}

fn shown(text: Option<&[u8]>) -> String {
    match text {
        Some(text) => String::from_utf8_lossy(&text[..text.len().min(SHOWN_BYTES_MAX)]).into_owned(),
        None => "(no messageId)".to_owned(),
    }
}
