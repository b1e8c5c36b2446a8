//! Where the events of a batch are, in a body that simd-json refuses. Tolerant, in one pass, without recursion: inside
//! an event only strings and brackets matter, so that a fault in one event costs that event alone.

use std::ops::Range;

use memchr::memchr2;
use wire::limits::BATCH_EVENTS_MAX;

use super::names::Name;
use super::text::Decoder;
use crate::reject::Reject;

/// The places of a batch's events, and the body without them.
#[derive(Default)]
pub(super) struct Outline {
    /// The first [`BATCH_EVENTS_MAX`] events of the batch: `start..end`.
    pub(super) events: Vec<(u32, u32)>,
    /// Those beyond: how many, and their bytes from the first to the last.
    pub(super) beyond: Beyond,
    /// The body with an empty batch. The whole body where there is no batch.
    pub(super) envelope: Vec<u8>,
}

/// Events beyond the batch's limit.
#[derive(Debug, Default, Clone, Copy, PartialEq, Eq)]
pub(super) struct Beyond {
    pub(super) events: usize,
    pub(super) start: u32,
    pub(super) end: u32,
}

impl Beyond {
    /// Counts an event.
    pub(super) fn push(&mut self, start: u32, end: u32) {
        if self.events == 0 {
            self.start = start;
        }
        self.events += 1;
        self.end = end;
    }
}

impl Outline {
    /// Finds the events of `body`.
    ///
    /// # Errors
    /// [`Reject::InvalidJson`] where the envelope's own object or its `batch` array is not well formed.
    pub(super) fn read(&mut self, body: &[u8], decoder: &mut Decoder) -> Result<(), Reject> {
        self.events.clear();
        self.beyond = Beyond::default();
        self.envelope.clear();
        let batch = self.scan(body, decoder).ok_or(Reject::InvalidJson)?;
        self.envelope.extend_from_slice(&body[..batch.start]);
        self.envelope.extend_from_slice(&body[batch.end..]);
        Ok(())
    }

    /// What the batch has between its brackets, an empty range without one; `None` where the body is malformed.
    fn scan(&mut self, body: &[u8], decoder: &mut Decoder) -> Option<Range<usize>> {
        let mut batch = body.len()..body.len();
        let mut scanner = Scanner { body, at: 0 };
        scanner.expect(b'{')?;
        if !scanner.is_at(b'}') {
            loop {
                let name = scanner.string()?;
                let is_batch = Name::of(&body[name.start + 1..name.end - 1], decoder) == Name::Batch;
                scanner.expect(b':')?;
                if is_batch && scanner.is_at(b'[') {
                    batch = self.scan_batch(&mut scanner)?;
                } else {
                    scanner.value()?;
                }
                if !scanner.is_at(b',') {
                    break;
                }
                scanner.at += 1;
            }
        }
        scanner.expect(b'}')?;
        scanner.skip_space();
        (scanner.at == body.len()).then_some(batch)
    }

    fn scan_batch(&mut self, scanner: &mut Scanner<'_>) -> Option<Range<usize>> {
        self.events.clear();
        self.beyond = Beyond::default();
        scanner.expect(b'[')?;
        let inside = scanner.at;
        if !scanner.is_at(b']') {
            loop {
                let event = scanner.value()?;
                if self.events.len() < BATCH_EVENTS_MAX {
                    self.events.push((event.start as u32, event.end as u32));
                } else {
                    self.beyond.push(event.start as u32, event.end as u32);
                }
                if !scanner.is_at(b',') {
                    break;
                }
                scanner.at += 1;
            }
        }
        scanner.skip_space();
        let end = scanner.at;
        scanner.expect(b']')?;
        Some(inside..end)
    }
}

struct Scanner<'a> {
    body: &'a [u8],
    at: usize,
}

impl Scanner<'_> {
    fn skip_space(&mut self) {
        while self.body.get(self.at).is_some_and(|byte| matches!(byte, b' ' | b'\t' | b'\n' | b'\r')) {
            self.at += 1;
        }
    }

    /// Whether the next token starts with `byte`.
    fn is_at(&mut self, byte: u8) -> bool {
        self.skip_space();
        self.body.get(self.at) == Some(&byte)
    }

    fn expect(&mut self, byte: u8) -> Option<()> {
        self.is_at(byte).then(|| self.at += 1)
    }

    /// A string with its quotes.
    fn string(&mut self) -> Option<Range<usize>> {
        if !self.is_at(b'"') {
            return None;
        }
        let start = self.at;
        self.at = string_end(self.body, start)?;
        Some(start..self.at)
    }

    /// Any value; of objects and arrays only the brackets are counted.
    fn value(&mut self) -> Option<Range<usize>> {
        self.skip_space();
        let start = self.at;
        let mut depth = 0_usize;
        loop {
            match *self.body.get(self.at)? {
                b'"' => self.at = string_end(self.body, self.at)?,
                b'{' | b'[' => {
                    depth += 1;
                    self.at += 1;
                }
                b'}' | b']' => {
                    depth = depth.checked_sub(1)?;
                    self.at += 1;
                }
                _ if depth == 0 => self.at += atom_bytes(&self.body[self.at..])?,
                _ => self.at += 1,
            }
            if depth == 0 {
                return Some(start..self.at);
            }
        }
    }
}

/// Where the string that starts at `start` ends, behind its closing quote; `None` where it does not.
fn string_end(text: &[u8], start: usize) -> Option<usize> {
    let mut at = start + 1;
    loop {
        at += memchr2(b'"', b'\\', text.get(at..)?)?;
        if text[at] == b'"' {
            return Some(at + 1);
        }
        at += 2;
    }
}

/// Bytes of the number or bare word that `text` starts with; `None` for none.
pub(super) fn atom_bytes(text: &[u8]) -> Option<usize> {
    let is_end =
        |byte: &u8| matches!(byte, b' ' | b'\t' | b'\n' | b'\r' | b',' | b':' | b'"' | b'{' | b'}' | b'[' | b']');
    let bytes = text.iter().position(is_end).unwrap_or(text.len());
    (bytes > 0).then_some(bytes)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(body: &str) -> Result<(Vec<String>, String), Reject> {
        let mut outline = Outline::default();
        outline.read(body.as_bytes(), &mut Decoder::default())?;
        let events = outline.events.iter().map(|&(start, end)| body[start as usize..end as usize].to_owned()).collect();
        Ok((events, String::from_utf8(outline.envelope).unwrap()))
    }

    #[test]
    fn events_are_found_whatever_is_in_them() {
        let body = r#" {"a":[1,{}], "\u0062atch" : [ {"x":NaN,"y":"]}\"{"} ,{"z" 1}, NaN,"s",[[] ] ] ,"sentAt":"t"} "#;
        let (events, envelope) = read(body).unwrap();
        assert_eq!(events, [r#"{"x":NaN,"y":"]}\"{"}"#, r#"{"z" 1}"#, "NaN", "\"s\"", "[[] ]"]);
        assert_eq!(envelope, r#" {"a":[1,{}], "\u0062atch" : [] ,"sentAt":"t"} "#);
    }

    #[test]
    fn the_last_batch_counts() {
        let (events, envelope) = read(r#"{"batch":[1,2],"batch":[3],"batch":4}"#).unwrap();
        assert_eq!((events, envelope.as_str()), (vec!["3".to_owned()], r#"{"batch":[1,2],"batch":[],"batch":4}"#));
    }

    #[test]
    fn a_malformed_envelope_is_refused() {
        for body in [
            "",
            " ",
            "[]",
            "1",
            "{",
            "{\"batch\"",
            "{\"batch\":[",
            "{\"batch\":[{}",
            "{\"batch\":[{},",
            "{\"batch\":[{}]",
            "{\"batch\":[{},]}",
            "{\"batch\":[,{}]}",
            "{\"batch\":[{} {}]}",
            "{\"batch\":[{}]}x",
            "{\"batch\":[{}]}}",
            "{\"batch\":[{]}",
            "{batch:[]}",
            "{\"batch\":[],}",
            "{\"a\":\"",
            "{\"a\":\"\\",
            "{\"a\":}",
            "{\"batch\":[]]}",
        ] {
            assert_eq!(read(body), Err(Reject::InvalidJson), "{body}");
        }
    }

    #[test]
    fn events_beyond_the_limit_stay_together() {
        let body = format!("{{\"batch\":[{}3 , 4]}}", "1,".repeat(BATCH_EVENTS_MAX));
        let mut outline = Outline::default();
        outline.read(body.as_bytes(), &mut Decoder::default()).unwrap();
        assert_eq!((outline.events.len(), outline.beyond.events), (BATCH_EVENTS_MAX, 2));
        assert_eq!(&body[outline.beyond.start as usize..outline.beyond.end as usize], "3 , 4");
        assert_eq!(outline.envelope, b"{\"batch\":[]}");
    }

    #[test]
    fn a_million_brackets_take_no_stack() {
        let open = format!("{{\"batch\":[{}", "[".repeat(1_000_000));
        assert_eq!(read(&open), Err(Reject::InvalidJson));
        let closed = format!("{open}{}]}}", "]".repeat(1_000_000));
        assert_eq!(read(&closed).unwrap().0.len(), 1);
    }
}
