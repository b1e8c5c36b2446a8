//! simd-json's first stage, which finds where each token starts, and the walk over what it found.
//!
//! Its second stage would build a tape of values that nobody looks at: half of what parsing costs. The library has no call
//! for the first stage alone, but it begins the second by comparing the depth with a limit, and with the limit 0 every
//! text that begins with a bracket ends there, its marks found. So each text gets a bracket put before it. Whether the
//! library still works like that is for [`Parser::parse`]'s tests, and those of `walk` compare with its tape.
//!
//! A text is copied to where it has that bracket and its padding, unless it lies so already ([`Framed`]).

use simd_json::{Buffers, ErrorType, INPUT_PADDING, Tape, fill_tape_padded};
use wire::limits::EVENT_DEPTH_MAX;

use super::document::Document;
use super::walk::{PADDING_BYTES, Walk};

/// Levels around an event: the envelope's object and its `batch` array.
const ENVELOPE_LEVELS: usize = 2;
/// Nesting at which a text is refused. A text within it may still hold a too deep event; that is checked per event.
pub(super) const DEPTH_MAX: usize = EVENT_DEPTH_MAX + ENVELOPE_LEVELS;
/// Tokens whose buffers are kept from one request to the next, 32 bytes each. A body of the largest size has some
/// 170,000 in real life and a million at worst.
const TOKENS_KEPT_MAX: usize = 256 * 1024;
/// The bracket that is put before a text.
const BRACKET: u8 = b'[';

const _: () = assert!(PADDING_BYTES >= INPUT_PADDING);

/// A text in a buffer that has room for the parser around it.
pub(crate) struct Framed<'a> {
    buffer: &'a mut [u8],
}

impl<'a> Framed<'a> {
    /// Bytes of the parser's before a text.
    pub(crate) const BEFORE: usize = 1;
    /// Bytes of the parser's behind it.
    pub(crate) const BEHIND: usize = PADDING_BYTES;

    /// The text in `buffer` that has so many bytes before and behind it. They are written over.
    ///
    /// # Panics
    /// Where the buffer has not even those.
    pub(crate) fn new(buffer: &'a mut [u8]) -> Self {
        let end = buffer.len() - Self::BEHIND;
        buffer[end..].fill(b' ');
        buffer[0] = BRACKET;
        Self { buffer }
    }

    /// The text.
    pub(crate) fn text(&self) -> &[u8] {
        &self.buffer[Self::BEFORE..self.buffer.len() - Self::BEHIND]
    }

    /// Leaves so many bytes out of its front.
    pub(super) fn skip(&mut self, count: usize) {
        let buffer = std::mem::take(&mut self.buffer);
        self.buffer = &mut buffer[count..];
        self.buffer[0] = BRACKET;
    }
}

/// The buffers of simd-json and of the walk, reused.
pub(super) struct Parser {
    /// A text that lay elsewhere, framed.
    copy: Vec<u8>,
    tokens: Tokens,
}

struct Tokens {
    buffers: Buffers,
    /// Stays empty.
    tape: Tape<'static>,
    walk: Walk,
}

impl Parser {
    pub(super) fn new() -> Self {
        let buffers = Buffers::with_max_depth(0, 0);
        let tokens = Tokens { buffers, tape: Tape(Vec::new()), walk: Walk::new(DEPTH_MAX) };
        Self { copy: Vec::new(), tokens }
    }

    /// Finds the tokens of `text`; `None` where it is no JSON.
    pub(super) fn parse(&mut self, text: &[u8]) -> Option<Document<'_>> {
        let Self { copy, tokens } = self;
        copy.clear();
        copy.reserve(Framed::BEFORE + text.len() + Framed::BEHIND);
        copy.push(BRACKET);
        copy.extend_from_slice(text);
        copy.extend_from_slice(&[b' '; Framed::BEHIND]);
        tokens.find(copy)
    }

    /// The same where it lies.
    pub(super) fn parse_framed<'a>(&'a mut self, text: &'a mut Framed<'_>) -> Option<Document<'a>> {
        self.tokens.find(text.buffer)
    }

    /// Gives back what only an unusual body needed.
    pub(super) fn trim(&mut self) {
        if self.tokens.tape.0.capacity() > TOKENS_KEPT_MAX {
            *self = Self::new();
        }
    }
}

impl Tokens {
    /// `buffer` is the bracket, a text, and spaces. It stays as it is: the library changes a text in its second stage.
    fn find<'a>(&'a mut self, buffer: &'a mut [u8]) -> Option<Document<'a>> {
        let length = buffer.len() - Framed::BEHIND;
        let mut tape = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let outcome = fill_tape_padded(buffer, length, &mut self.buffers, &mut tape);
        self.tape = tape.reset();
        let found = outcome.is_err_and(|error| matches!(error.error(), ErrorType::DepthLimitExceeded));
        let marks = self.buffers.structural_indexes();
        if !found || !self.walk.run(buffer, marks, 1) {
            return None;
        }
        Some(Document::new(&buffer[..length], marks, &self.walk))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_and_the_text_is_left_alone() {
        let mut parser = Parser::new();
        let text = br#" {"a\n" : [1, true ,"x"] , "b":{}} "#;
        let document = parser.parse(text).unwrap();
        assert_eq!(&document.text()[1..], text);
        let tokens: Vec<u8> = document.marks().iter().map(|&mark| document.text()[mark as usize]).collect();
        assert_eq!(tokens, br#"{":[1,t,"],":{}}"#);
    }

    #[test]
    fn a_framed_text_is_parsed_where_it_lies_and_left_alone() {
        let mut parser = Parser::new();
        let text = br#" {"a\n" : [1, true ,"x"] , "b":{}} "#;
        let mut buffer = [b"x", &text[..], &[b'x'; Framed::BEHIND]].concat();
        let place = buffer[1..].as_ptr();
        let mut framed = Framed::new(&mut buffer);
        let document = parser.parse_framed(&mut framed).unwrap();
        assert_eq!(document.text()[1..].as_ptr(), place);
        let marks = document.marks().to_vec();
        assert_eq!((framed.text(), &marks[..]), (&text[..], parser.parse(text).unwrap().marks()));
        framed.skip(1);
        assert!(parser.parse_framed(&mut framed).is_some());
        assert_eq!(framed.text(), &text[1..]);
        framed.skip(1);
        assert!(parser.parse_framed(&mut framed).is_none());
    }

    #[test]
    fn what_is_not_json_is_refused_and_the_next_text_parses() {
        let mut parser = Parser::new();
        for text in ["", " ", "{", "{\"a\":NaN}", "{} {}", "{\"a\":01}", "[1,]"] {
            assert!(parser.parse(text.as_bytes()).is_none(), "{text}");
        }
        assert!(parser.parse(b"{}").is_some());
    }

    #[test]
    fn depth_has_a_bound() {
        let mut parser = Parser::new();
        let nested = |levels: usize| [vec![b'['; levels], vec![b']'; levels]].concat();
        assert!(parser.parse(&nested(DEPTH_MAX)).is_some());
        assert!(parser.parse(&nested(DEPTH_MAX + 1)).is_none());
    }

    #[test]
    fn large_buffers_are_not_kept() {
        let mut parser = Parser::new();
        let text = [&b"["[..], &b"1,".repeat(TOKENS_KEPT_MAX), b"1]"].concat();
        assert!(parser.parse(&text).is_some());
        assert!(parser.tokens.tape.0.capacity() > TOKENS_KEPT_MAX);
        parser.trim();
        assert_eq!((parser.tokens.tape.0.capacity(), parser.copy.capacity()), (0, 0));
        assert!(parser.parse(b"{}").is_some());
    }
}
