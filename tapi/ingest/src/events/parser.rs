//! simd-json's first stage, which finds where each token starts, and the walk over what it found.
//!
//! Its second stage would build a tape of values that nobody looks at: half of what parsing costs. The library has no call
//! for the first stage alone, but it begins the second by comparing the depth with a limit, and with the limit 0 every
//! text that begins with a bracket ends there, its marks found. So each text gets a bracket put before it. Whether the
//! library still works like that is for [`Parser::parse`]'s tests, and those of `walk` compare with its tape.

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

/// The buffers of simd-json and of the walk, reused.
pub(super) struct Parser {
    /// The bracket, the text, and spaces.
    copy: Vec<u8>,
    buffers: Buffers,
    /// Stays empty.
    tape: Tape<'static>,
    walk: Walk,
}

impl Parser {
    pub(super) fn new() -> Self {
        let buffers = Buffers::with_max_depth(0, 0);
        Self { copy: Vec::new(), buffers, tape: Tape(Vec::new()), walk: Walk::new(DEPTH_MAX) }
    }

    /// Finds the tokens of `text`; `None` where it is no JSON.
    pub(super) fn parse(&mut self, text: &[u8]) -> Option<Document<'_>> {
        let length = 1 + text.len();
        self.copy.clear();
        self.copy.reserve(length + PADDING_BYTES);
        self.copy.push(BRACKET);
        self.copy.extend_from_slice(text);
        self.copy.extend_from_slice(&[b' '; PADDING_BYTES]);

        let mut tape = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let outcome = fill_tape_padded(&mut self.copy, length, &mut self.buffers, &mut tape);
        self.tape = tape.reset();
        let found = outcome.is_err_and(|error| matches!(error.error(), ErrorType::DepthLimitExceeded));
        let marks = self.buffers.structural_indexes();
        if !found || !self.walk.run(&self.copy, marks, 1) {
            return None;
        }
        Some(Document::new(&self.copy[..length], marks, &self.walk))
    }

    /// Gives back what only an unusual body needed.
    pub(super) fn trim(&mut self) {
        if self.tape.0.capacity() > TOKENS_KEPT_MAX {
            *self = Self::new();
        }
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
        assert!(parser.tape.0.capacity() > TOKENS_KEPT_MAX);
        parser.trim();
        assert_eq!((parser.tape.0.capacity(), parser.copy.capacity()), (0, 0));
        assert!(parser.parse(b"{}").is_some());
    }
}
