//! The members of one event, read once: in order for splicing, by name for deciding.

use super::document::{Document, Kind, Member, Value};
use super::names::Name;
use super::text::Decoder;

/// A member and which name it has.
#[derive(Clone, Copy)]
pub(super) struct NamedMember {
    pub(super) name: Name,
    pub(super) member: Member,
}

/// Reused room for the members of an event; no more of them than fit in [`wire::limits::EVENT_BYTES_MAX`].
pub(super) struct MemberTable {
    members: Vec<NamedMember>,
    /// Index of the last member of each name: the one that counts, as with every JSON parser.
    last: [u32; Name::COUNT],
}

const ABSENT: u32 = u32::MAX;

impl MemberTable {
    pub(super) fn new() -> Self {
        Self { members: Vec::new(), last: [ABSENT; Name::COUNT] }
    }

    /// Reads the members of `object`.
    pub(super) fn read<'a>(&'a mut self, document: Document<'a>, object: Value, decoder: &mut Decoder) -> Event<'a> {
        self.members.clear();
        self.last = [ABSENT; Name::COUNT];
        for member in document.members(object) {
            let name = document.name_of(member, decoder);
            if name != Name::Other {
                self.last[name as usize] = self.members.len() as u32;
            }
            self.members.push(NamedMember { name, member });
        }
        Event { document, object, members: &self.members, last: &self.last }
    }
}

/// One event, its members found.
#[derive(Clone, Copy)]
pub(super) struct Event<'a> {
    pub(super) document: Document<'a>,
    pub(super) object: Value,
    pub(super) members: &'a [NamedMember],
    last: &'a [u32; Name::COUNT],
}

impl<'a> Event<'a> {
    /// The value of the member that counts, `null` or not.
    #[inline]
    pub(super) fn get(self, name: Name) -> Option<Value> {
        let index = self.last[name as usize];
        (index != ABSENT).then(|| self.members[index as usize].member.value)
    }

    /// The same, `null` counted as absent.
    #[inline]
    pub(super) fn present(self, name: Name) -> Option<Value> {
        self.get(name).filter(|&value| self.document.kind(value) != Kind::Null)
    }

    /// The same, `null` and `""` counted as absent.
    #[inline]
    pub(super) fn filled(self, name: Name) -> Option<Value> {
        self.present(name).filter(|&value| self.document.raw(value) != b"\"\"")
    }

    /// Whether the member at `index` is the one of its name that counts.
    #[inline]
    pub(super) fn counts(self, index: usize) -> bool {
        let name = self.members[index].name;
        name == Name::Other || self.last[name as usize] == index as u32
    }

    pub(super) fn kind(self, value: Value) -> Kind {
        self.document.kind(value)
    }

    pub(super) fn raw(self, value: Value) -> &'a [u8] {
        self.document.raw(value)
    }
}

#[cfg(test)]
mod tests {
    use super::super::parser::Parser;
    use super::*;

    #[test]
    fn the_last_of_a_name_counts() {
        let mut parser = Parser::new();
        let mut table = MemberTable::new();
        let document = parser.parse(br#"{"type":1,"x":[[]],"t\u0079pe":2,"x":3,"userId":"","event":null}"#).unwrap();
        let event = table.read(document, document.root(), &mut Decoder::default());
        assert_eq!(event.get(Name::Type).map(|value| event.raw(value)), Some(&b"2"[..]));
        assert_eq!((0..6).map(|index| event.counts(index)).collect::<Vec<_>>(), [false, true, true, true, true, true]);
        assert!(event.get(Name::Event).is_some() && event.present(Name::Event).is_none());
        assert!(event.present(Name::UserId).is_some() && event.filled(Name::UserId).is_none());
        assert!(event.get(Name::Traits).is_none());
    }
}
