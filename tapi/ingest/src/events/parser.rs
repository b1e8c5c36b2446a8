//! simd-json, asked for two things only: is this JSON, and where does each of its tokens start.
//!
//! It parses in place and destroys the raw text of strings with escapes, so it is given a copy; what is spliced into
//! the output comes from the original. Its tape is built and not looked at.

use simd_json::{Buffers, INPUT_PADDING, Tape, fill_tape_padded};
use wire::limits::EVENT_DEPTH_MAX;

use super::document::Document;
use super::pairs::Pairs;

/// Levels around an event: the envelope's object and its `batch` array.
const ENVELOPE_LEVELS: usize = 2;
/// Nesting at which simd-json refuses. A text within it may still hold a too deep event; that is checked per event.
const DEPTH_MAX: usize = EVENT_DEPTH_MAX + ENVELOPE_LEVELS;
/// Tokens whose buffers are kept from one request to the next, 32 bytes each. A body of the largest size has some
/// 170,000 in real life and a million at worst.
const TOKENS_KEPT_MAX: usize = 256 * 1024;

/// The buffers of simd-json, reused.
pub(super) struct Parser {
    copy: Vec<u8>,
    buffers: Buffers,
    tape: Tape<'static>,
    pairs: Pairs,
}

impl Parser {
    pub(super) fn new() -> Self {
        Self { copy: Vec::new(), buffers: new_buffers(), tape: Tape(Vec::new()), pairs: Pairs::new(DEPTH_MAX) }
    }

    /// Finds the tokens of `text`; `None` where simd-json refuses it.
    pub(super) fn parse<'a>(&'a mut self, text: &'a [u8]) -> Option<Document<'a>> {
        self.parse_masked(text, text)
    }

    /// The same, but what simd-json sees is `masked`: as long as `text`, with tokens that start at the same places.
    pub(super) fn parse_masked<'a>(&'a mut self, text: &'a [u8], masked: &[u8]) -> Option<Document<'a>> {
        debug_assert_eq!(text.len(), masked.len());
        self.copy.clear();
        self.copy.reserve(masked.len() + INPUT_PADDING);
        self.copy.extend_from_slice(masked);
        self.copy.extend_from_slice(&[b' '; INPUT_PADDING]);

        let mut tape = std::mem::replace(&mut self.tape, Tape(Vec::new())).reset();
        let outcome = fill_tape_padded(&mut self.copy, masked.len(), &mut self.buffers, &mut tape);
        self.tape = tape.reset();
        outcome.ok()?;
        let marks = self.buffers.structural_indexes();
        let levels = self.pairs.find(text, marks);
        Some(Document::new(text, marks, self.pairs.closes(), levels))
    }

    /// Gives back what only an unusual body needed.
    pub(super) fn trim(&mut self) {
        if self.tape.0.capacity() > TOKENS_KEPT_MAX {
            *self = Self::new();
        }
    }
}

fn new_buffers() -> Buffers {
    Buffers::with_max_depth(0, DEPTH_MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tokens_are_found_and_the_text_is_left_alone() {
        let mut parser = Parser::new();
        let text = br#" {"a\n" : [1, true ,"x"] , "b":{}} "#;
        let document = parser.parse(text).unwrap();
        let tokens: Vec<u8> = document.marks().iter().map(|&mark| text[mark as usize]).collect();
        assert_eq!(tokens, br#"{":[1,t,"],":{}}"#);
    }

    #[test]
    fn what_is_not_json_is_refused_and_the_next_text_parses() {
        let mut parser = Parser::new();
        for text in ["", " ", "{", "{\"a\":NaN}", "{\"a\":1e400}", "{\"a\":\"\\ud800\"}", "{} {}", "{\"a\":01}", "[1,]"]
        {
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
