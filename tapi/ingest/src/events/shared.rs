//! An object that a batch's envelope has in common for all its events (`context`, `integrations`), made ready to be
//! merged into each of them: member by member, and what the event says itself wins.

use std::ops::Range;

use super::document::{Document, Kind, Value};
use super::text::Decoder;

/// The members, ready for merging. Reused from request to request.
#[derive(Default)]
pub(super) struct SharedObject {
    /// Sorted by name, each name once.
    members: Vec<SharedMember>,
    /// Decoded names, back to back.
    names: Vec<u8>,
    /// `"name":value`, compact and in the order of `members`, with commas between them.
    text: Vec<u8>,
    /// Tells the events apart that members were overridden in.
    turn: u32,
}

#[derive(Clone)]
struct SharedMember {
    name: Range<usize>,
    /// Marks of the member in the envelope, from its name to the end of its value.
    marks: Range<u32>,
    text: Range<usize>,
    overridden_in: u32,
}

impl SharedObject {
    pub(super) fn clear(&mut self) {
        self.members.clear();
        self.names.clear();
        self.text.clear();
        self.turn = 0;
    }

    /// Bytes that it can add to an event.
    pub(super) fn bytes(&self) -> usize {
        self.text.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.members.is_empty()
    }

    /// Reads the envelope's object. Anything but an object counts as empty.
    pub(super) fn read(&mut self, document: Document<'_>, value: Value, decoder: &mut Decoder) {
        self.clear();
        if document.kind(value) != Kind::Object {
            return;
        }
        for member in document.members(value) {
            let start = self.names.len();
            self.names.extend_from_slice(document.decode(document.name(member), decoder));
            self.members.push(SharedMember {
                name: start..self.names.len(),
                marks: member.mark..member.value.mark_end,
                text: 0..0,
                overridden_in: 0,
            });
        }
        // Equal names end up side by side, the one that counts, which has the highest mark, first.
        let names = &self.names;
        self.members.sort_unstable_by(|a, b| {
            names[a.name.clone()].cmp(&names[b.name.clone()]).then(b.marks.start.cmp(&a.marks.start))
        });
        self.members.dedup_by(|later, kept| names[later.name.clone()] == names[kept.name.clone()]);
        for member in &mut self.members {
            if !self.text.is_empty() {
                self.text.push(b',');
            }
            let start = self.text.len();
            document.write_compact(member.marks.start, member.marks.end, &mut self.text);
            member.text = start..self.text.len();
        }
    }

    /// Appends the members that `own`, an object of an event, does not have itself, each behind a comma where
    /// something stands before it. Returns whether `name` is a member of either.
    pub(super) fn merge(
        &mut self,
        document: Document<'_>,
        own: Option<Value>,
        name: &[u8],
        decoder: &mut Decoder,
        out: &mut Vec<u8>,
    ) -> bool {
        self.turn += 1;
        let mut has_name = self.find(name).is_some();
        let mut overridden = 0;
        let mut comma = false;
        for member in own.into_iter().flat_map(|own| document.members(own)) {
            comma = true;
            let own_name = document.decode(document.name(member), decoder);
            has_name |= own_name == name;
            if let Some(index) = self.find(own_name)
                && self.members[index].overridden_in != self.turn
            {
                self.members[index].overridden_in = self.turn;
                overridden += 1;
            }
        }
        if overridden == 0 {
            if comma && !self.text.is_empty() {
                out.push(b',');
            }
            out.extend_from_slice(&self.text);
            return has_name;
        }
        for member in self.members.iter().filter(|member| member.overridden_in != self.turn) {
            out.push(b',');
            out.extend_from_slice(&self.text[member.text.clone()]);
        }
        has_name
    }

    fn find(&self, name: &[u8]) -> Option<usize> {
        self.members.binary_search_by(|member| self.names[member.name.clone()].cmp(name)).ok()
    }
}

#[cfg(test)]
mod tests {
    use super::super::parser::Parser;
    use super::*;

    fn merged(shared: &str, own: &str) -> (String, bool) {
        let (mut parser, mut decoder) = (Parser::new(), Decoder::default());
        let mut object = SharedObject::default();
        let document = parser.parse(shared.as_bytes()).unwrap();
        object.read(document, document.root(), &mut decoder);
        let document = parser.parse(own.as_bytes()).unwrap();
        let mut out = Vec::new();
        let has_ip = object.merge(document, Some(document.root()), b"ip", &mut decoder, &mut out);
        (String::from_utf8(out).unwrap(), has_ip)
    }

    #[test]
    fn the_event_wins_and_the_last_of_a_name_counts() {
        assert_eq!(merged("{}", "{}"), (String::new(), false));
        assert_eq!(merged(r#"{ "b" : [1, 2] , "a":1}"#, "{}"), (r#""a":1,"b":[1,2]"#.into(), false));
        assert_eq!(merged(r#"{"b":1,"a":1}"#, r#"{"c":1}"#), (r#","a":1,"b":1"#.into(), false));
        assert_eq!(merged(r#"{"b":1,"a":1}"#, r#"{"b":2,"b":3}"#), (r#","a":1"#.into(), false));
        assert_eq!(merged(r#"{"b":1}"#, r#"{"\u0062":2}"#), (String::new(), false));
        assert_eq!(merged(r#"{"a":1,"\u0061":2,"a":3}"#, "{}"), (r#""a":3"#.into(), false));
        assert_eq!(merged(r#"{"ip":1}"#, "{}"), (r#""ip":1"#.into(), true));
        assert_eq!(merged("{}", r#"{"ip":1}"#), (String::new(), true));
    }

    #[test]
    fn anything_but_an_object_is_empty() {
        for shared in ["[]", "[1]", "null", "\"x\"", "1"] {
            assert_eq!(merged(shared, "{}"), (String::new(), false), "{shared}");
        }
    }
}
