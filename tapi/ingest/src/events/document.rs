//! A JSON text with the places of its tokens: members, elements, exact spans, compact size. Nothing is decoded here.
//!
//! A *mark* is the offset of a token's first byte, tokens being `{ } [ ] : ,`, strings and atoms; the marks of an
//! accepted text are all that is needed to walk it. A value ends where the next token starts, white space cut off.

use super::names::Name;
use super::readable::Odd;
use super::text::Decoder;
use super::walk::Walk;

/// The mark of the value that is the whole text; the one before it is of a bracket that belongs to no text.
const ROOT: usize = 1;

/// A text that is JSON, and its marks.
#[derive(Clone, Copy)]
pub(super) struct Document<'a> {
    text: &'a [u8],
    marks: &'a [u32],
    walk: &'a Walk,
}

/// One value of a document.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Value {
    /// Its bytes: `start..end`.
    pub(super) start: u32,
    pub(super) end: u32,
    /// Its tokens: `mark..mark_end`, indexes into the marks.
    pub(super) mark: u32,
    pub(super) mark_end: u32,
}

/// One member of an object.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct Member {
    /// Index of the mark of the name's opening quote.
    pub(super) mark: u32,
    /// The name's bytes between the quotes: `name_start..name_end`.
    pub(super) name_start: u32,
    pub(super) name_end: u32,
    pub(super) value: Value,
}

/// What kind of value it is, told by its first byte.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Kind {
    Object,
    Array,
    String,
    Number,
    Bool,
    Null,
}

impl<'a> Document<'a> {
    /// `walk` is the one over these marks.
    pub(super) fn new(text: &'a [u8], marks: &'a [u32], walk: &'a Walk) -> Self {
        Self { text, marks, walk }
    }

    /// Whether a value is nested deeper than `levels_max`, its own brackets being one level.
    pub(super) fn is_deeper_than(self, value: Value, levels_max: usize) -> bool {
        self.levels() > levels_max && self.levels_of(value) > levels_max
    }

    /// The deepest nesting of the whole document.
    pub(super) fn levels(self) -> usize {
        self.walk.levels as usize
    }

    fn levels_of(self, value: Value) -> usize {
        let (mut depth, mut levels) = (0, 0);
        for byte in self.brackets(value) {
            depth += usize::from(opens(byte));
            levels = levels.max(depth);
            depth -= usize::from(!opens(byte));
        }
        levels
    }

    fn brackets(self, value: Value) -> impl Iterator<Item = u8> {
        let marks = &self.marks[value.mark as usize..value.mark_end as usize];
        marks.iter().map(move |&mark| self.text[mark as usize]).filter(|&byte| is_bracket(byte))
    }

    /// The first thing in a value that some readers cannot take.
    #[inline]
    pub(super) fn odd_of(self, value: Value) -> Option<Odd> {
        let odd = &self.walk.odd;
        if odd.is_empty() {
            return None;
        }
        let first = odd.partition_point(|odd| odd.at < value.start);
        odd.get(first).copied().filter(|odd| odd.at < value.end)
    }

    /// Whether white space between tokens may have line ends.
    pub(super) fn has_line_end(self) -> bool {
        self.walk.has_line_end
    }

    /// Which name a member has.
    #[inline]
    pub(super) fn name_of(self, member: Member, decoder: &mut Decoder) -> Name {
        let name = self.name(member);
        if self.walk.has_escape { Name::of(name, decoder) } else { Name::of_plain(name) }
    }

    /// What a string says that has `raw` between its quotes.
    #[inline]
    pub(super) fn decode<'b>(self, raw: &'b [u8], decoder: &'b mut Decoder) -> &'b [u8] {
        if self.walk.has_escape { decoder.decode(raw) } else { raw }
    }

    pub(super) fn text(self) -> &'a [u8] {
        self.text
    }

    #[cfg(test)]
    pub(super) fn marks(self) -> &'a [u32] {
        &self.marks[ROOT..]
    }

    /// The value that is the whole document.
    pub(super) fn root(self) -> Value {
        let start = self.marks[ROOT];
        let end = trimmed_end(self.text, start as usize, self.text.len()) as u32;
        Value { start, end, mark: ROOT as u32, mark_end: self.marks.len() as u32 }
    }

    /// The client's own bytes of a value.
    pub(super) fn raw(self, value: Value) -> &'a [u8] {
        &self.text[value.start as usize..value.end as usize]
    }

    /// What a string has between its quotes, escapes as they are.
    pub(super) fn string(self, value: Value) -> &'a [u8] {
        &self.text[value.start as usize + 1..value.end as usize - 1]
    }

    /// A member's name, escapes as they are.
    pub(super) fn name(self, member: Member) -> &'a [u8] {
        &self.text[member.name_start as usize..member.name_end as usize]
    }

    pub(super) fn kind(self, value: Value) -> Kind {
        match self.text[value.start as usize] {
            b'{' => Kind::Object,
            b'[' => Kind::Array,
            b'"' => Kind::String,
            b't' | b'f' => Kind::Bool,
            b'n' => Kind::Null,
            _ => Kind::Number,
        }
    }

    /// `[]`, which is what an empty map becomes in PHP.
    pub(super) fn is_empty_array(self, value: Value) -> bool {
        self.kind(value) == Kind::Array && value.mark_end - value.mark == 2
    }

    /// The members of an object, in order.
    pub(super) fn members(self, object: Value) -> Members<'a> {
        debug_assert_eq!(self.kind(object), Kind::Object);
        Members { document: self, mark: object.mark as usize + 1, mark_end: object.mark_end as usize - 1 }
    }

    /// The elements of an array, in order.
    pub(super) fn elements(self, array: Value) -> Elements<'a> {
        debug_assert_eq!(self.kind(array), Kind::Array);
        Elements { document: self, mark: array.mark as usize + 1, mark_end: array.mark_end as usize - 1 }
    }

    /// Bytes of a value, white space between its tokens not counted.
    pub(super) fn compact_bytes(self, value: Value) -> usize {
        self.tokens(value.mark, value.mark_end).map(<[u8]>::len).sum()
    }

    /// Appends tokens without the white space between them.
    pub(super) fn write_compact(self, mark: u32, mark_end: u32, out: &mut Vec<u8>) {
        for token in self.tokens(mark, mark_end) {
            out.extend_from_slice(token);
        }
    }

    fn tokens(self, mark: u32, mark_end: u32) -> impl Iterator<Item = &'a [u8]> {
        (mark as usize..mark_end as usize).map(move |mark| {
            let start = self.marks[mark] as usize;
            &self.text[start..self.token_end(mark, start)]
        })
    }

    fn token_end(self, mark: usize, start: usize) -> usize {
        let limit = self.marks.get(mark + 1).map_or(self.text.len(), |&next| next as usize);
        trimmed_end(self.text, start, limit)
    }

    /// The value whose first token is at `mark`.
    #[inline]
    fn value_at(self, mark: usize) -> Value {
        let start = self.marks[mark];
        if !opens(self.text[start as usize]) {
            let end = self.token_end(mark, start as usize) as u32;
            return Value { start, end, mark: mark as u32, mark_end: mark as u32 + 1 };
        }
        let close = self.walk.closes[mark] as usize;
        Value { start, end: self.marks[close] + 1, mark: mark as u32, mark_end: close as u32 + 1 }
    }
}

/// Whether a token that starts with `byte` is `{` or `[`, which differ in bit 5 alone; no other token is like them.
#[inline]
fn opens(byte: u8) -> bool {
    byte | 0x20 == b'{'
}

/// Whether it is any of the four brackets, which differ in the bits of 0x26 alone.
#[inline]
fn is_bracket(byte: u8) -> bool {
    byte | 0x26 == 0x7f
}

#[inline]
fn trimmed_end(text: &[u8], start: usize, limit: usize) -> usize {
    let mut end = limit;
    while end > start && matches!(text[end - 1], b' ' | b'\t' | b'\n' | b'\r') {
        end -= 1;
    }
    end
}

/// See [`Document::members`].
pub(super) struct Members<'a> {
    document: Document<'a>,
    mark: usize,
    mark_end: usize,
}

impl Iterator for Members<'_> {
    type Item = Member;

    #[inline]
    fn next(&mut self) -> Option<Member> {
        if self.mark >= self.mark_end {
            return None;
        }
        let name_mark = self.mark;
        let name_start = self.document.marks[name_mark] + 1;
        let name_end = self.document.token_end(name_mark, name_start as usize) as u32 - 1;
        let value = self.document.value_at(name_mark + 2);
        self.mark = value.mark_end as usize + 1;
        Some(Member { mark: name_mark as u32, name_start, name_end, value })
    }
}

/// See [`Document::elements`].
pub(super) struct Elements<'a> {
    document: Document<'a>,
    mark: usize,
    mark_end: usize,
}

impl Iterator for Elements<'_> {
    type Item = Value;

    #[inline]
    fn next(&mut self) -> Option<Value> {
        if self.mark >= self.mark_end {
            return None;
        }
        let value = self.document.value_at(self.mark);
        self.mark = value.mark_end as usize + 1;
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::super::parser::Parser;
    use super::Kind::{Array, Bool, Null, Number, Object, String};
    use super::{is_bracket, opens};

    #[test]
    fn members_and_elements_have_their_exact_bytes() {
        let mut parser = Parser::new();
        let text = b" { \"a\" : [ 1 , [] ,\"x\\\" \" ] ,\"b\":{\"c\":{}} , \"\":-1.5e3\t}\n";
        let document = parser.parse(text).unwrap();
        let members: Vec<_> = document.members(document.root()).collect();
        let raw = |value| std::str::from_utf8(document.raw(value)).unwrap();
        assert_eq!(raw(document.root()), "{ \"a\" : [ 1 , [] ,\"x\\\" \" ] ,\"b\":{\"c\":{}} , \"\":-1.5e3\t}");
        let names: Vec<_> = members.iter().map(|member| document.name(*member)).collect();
        assert_eq!(names, [&b"a"[..], b"b", b""]);
        assert_eq!(
            members.iter().map(|m| raw(m.value)).collect::<Vec<_>>(),
            ["[ 1 , [] ,\"x\\\" \" ]", "{\"c\":{}}", "-1.5e3"]
        );
        assert_eq!(members.iter().map(|m| document.levels_of(m.value)).collect::<Vec<_>>(), [2, 2, 0]);
        assert!(document.is_deeper_than(document.root(), 2) && !document.is_deeper_than(document.root(), 3));
        assert!(document.is_deeper_than(members[0].value, 1) && !document.is_deeper_than(members[0].value, 2));
        let elements: Vec<_> = document.elements(members[0].value).collect();
        assert_eq!(elements.iter().map(|e| raw(*e)).collect::<Vec<_>>(), ["1", "[]", "\"x\\\" \""]);
        assert!(document.is_empty_array(elements[1]));
        assert!(!document.is_empty_array(members[0].value));
    }

    #[test]
    fn compact_size_and_text_agree() {
        let mut parser = Parser::new();
        let text = b"{ \"a b\" :\r\n [ 1 ,\t2 ] , \"c\" : null }";
        let document = parser.parse(text).unwrap();
        let mut out = Vec::new();
        document.write_compact(document.root().mark, document.root().mark_end, &mut out);
        assert_eq!(out, b"{\"a b\":[1,2],\"c\":null}");
        assert_eq!(document.compact_bytes(document.root()), out.len());
    }

    #[test]
    fn empty_containers_have_nothing_in_them() {
        let mut parser = Parser::new();
        let document = parser.parse(b"{ }").unwrap();
        assert_eq!(document.members(document.root()).count(), 0);
        let document = parser.parse(b"[ ]").unwrap();
        assert_eq!(document.elements(document.root()).count(), 0);
    }

    #[test]
    fn only_brackets_are_brackets() {
        let tokens = b"{}[]:,\"-0123456789tfn";
        assert_eq!(tokens.iter().filter(|&&byte| opens(byte)).count(), 2);
        assert_eq!(tokens.iter().filter(|&&byte| is_bracket(byte)).count(), 4);
        assert!(opens(b'{') && opens(b'['));
    }

    #[test]
    fn kinds_are_told_by_the_first_byte() {
        let mut parser = Parser::new();
        let document = parser.parse(b"[{},[],\"\",0,-1,true,false,null]").unwrap();
        let kinds: Vec<_> = document.elements(document.root()).map(|value| document.kind(value)).collect();
        assert_eq!(kinds, [Object, Array, String, Number, Number, Bool, Bool, Null]);
    }
}
