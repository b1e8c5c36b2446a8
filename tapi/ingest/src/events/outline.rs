//! Where the events of a batch are, in a body that is no JSON as a whole. Tolerant, without recursion.
//!
//! Mobile clients write their batches as text files and close them at the next start, so a crash leaves missing or doubled
//! commas, an event torn in the middle, a file without its end, or two files in one. Every element of `batch` whose
//! brackets match is an event, whatever is between them; white space and commas separate, however many there are. What is
//! left is set aside by its bytes, so that nothing is lost without a trace.
//!
//! Where an element's brackets do not match it was torn: it ends where the next thing begins that looks like an event
//! (`{"`) or like the end of the batch, looked for from where its text stops being JSON.

use std::ops::Range;

use memchr::memchr2;
use wire::limits::BATCH_EVENTS_MAX;

use super::names::Name;
use super::strict::{self, Braces, is_space, skip_space, string_end};
use super::text::Decoder;

/// Ranges outside the batch that are set aside one by one; those behind become one.
const STRAYS_MAX: usize = 16;
/// Envelopes of one body; what is behind the last is set aside in one.
const PARTS_MAX: usize = 16;
/// Bytes that may be looked at in vain for each byte of the body, so that no body takes long.
const LOOKS_PER_BYTE: usize = 8;

/// The places of one envelope's events, and the envelope without them.
#[derive(Default)]
pub(super) struct Outline {
    /// The elements of the batch, in order: the first [`BATCH_EVENTS_MAX`] of the body.
    pub(super) elements: Vec<Element>,
    /// Those beyond: how many, and their bytes from the first to the last.
    pub(super) beyond: Beyond,
    /// What belongs to no event, in order.
    pub(super) strays: Vec<Range<usize>>,
    /// The envelope's well-formed members, its batch empty.
    pub(super) envelope: Vec<u8>,
    looks: usize,
    /// Envelopes read, and the elements of those before this one.
    parts: usize,
    elements_before: usize,
}

/// One element of a batch.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Element {
    pub(super) start: u32,
    pub(super) end: u32,
    /// Whether its brackets match.
    pub(super) is_whole: bool,
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

/// One envelope of a body.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Part {
    pub(super) range: Range<usize>,
    /// Whether it has a `batch` that is an array.
    pub(super) has_batch: bool,
}

impl Outline {
    /// Begins with another body.
    pub(super) fn begin(&mut self, body: &[u8]) {
        self.looks = body.len() * LOOKS_PER_BYTE;
        self.elements.clear();
        (self.parts, self.elements_before) = (0, 0);
    }

    /// Reads the next envelope of `body` from `at` on; `None` where no more follows. Text before it is a stray.
    pub(super) fn next(&mut self, body: &[u8], mut at: usize, decoder: &mut Decoder) -> Option<Part> {
        self.elements_before += self.elements.len();
        self.elements.clear();
        self.beyond = Beyond::default();
        self.strays.clear();
        self.envelope.clear();
        self.parts += 1;
        at = skip_separators(body, at);
        let mut places = if self.parts > PARTS_MAX { 0..0 } else { at..body.len() };
        let start = places.find(|&at| looks_like_object(body, at)).unwrap_or(body.len());
        self.stray(body, at..start);
        if start == body.len() {
            return (!self.strays.is_empty()).then_some(Part { range: start..start, has_batch: false });
        }
        let mut scan = Scan { outline: self, body, at: start + 1, decoder };
        let has_batch = scan.members();
        let range = start..scan.at;
        Some(Part { range, has_batch })
    }

    fn element(&mut self, start: usize, end: usize, is_whole: bool) {
        let (start, end) = (start as u32, end as u32);
        if self.elements_before + self.elements.len() < BATCH_EVENTS_MAX {
            self.elements.push(Element { start, end, is_whole });
        } else {
            self.beyond.push(start, end);
        }
    }

    fn stray(&mut self, body: &[u8], range: Range<usize>) {
        let end = trimmed_end(body, range.clone());
        if end == range.start {
            return;
        }
        if self.strays.len() == STRAYS_MAX
            && let Some(last) = self.strays.last_mut()
        {
            last.end = end;
        } else {
            self.strays.push(range.start..end);
        }
    }

    /// Takes note of bytes looked at in vain; whether more may be.
    fn looked(&mut self, bytes: usize) -> bool {
        self.looks = self.looks.saturating_sub(bytes);
        self.looks > 0
    }
}

/// The way through one envelope.
struct Scan<'a, 'b> {
    outline: &'b mut Outline,
    body: &'a [u8],
    at: usize,
    decoder: &'b mut Decoder,
}

impl Scan<'_, '_> {
    fn peek(&self) -> Option<u8> {
        self.body.get(self.at).copied()
    }

    /// The members behind the opening brace, up to the closing one or the end of the body. Whether one is a batch.
    fn members(&mut self) -> bool {
        let mut has_batch = false;
        self.outline.envelope.push(b'{');
        loop {
            self.at = skip_separators(self.body, self.at);
            match self.peek() {
                None => break,
                Some(b'}') => {
                    self.at += 1;
                    break;
                }
                _ => has_batch |= self.member(),
            }
        }
        self.outline.envelope.push(b'}');
        has_batch
    }

    /// One member, or what should be one. Whether it is a batch.
    fn member(&mut self) -> bool {
        let start = self.at;
        let Some(value) = self.name() else {
            self.skip_stray(start);
            return false;
        };
        let name = string_end(self.body, start).map_or(start..start, |end| start + 1..end - 1);
        if Name::of(&self.body[name], self.decoder) == Name::Batch && self.body.get(value) == Some(&b'[') {
            self.at = value + 1;
            self.batch();
            self.keep(b"\"batch\":[]");
            return true;
        }
        match strict::value(self.body, value) {
            Ok(end) => {
                self.at = end;
                let body = self.body;
                self.keep(&body[start..end]);
            }
            Err(_) => self.skip_stray(start),
        }
        false
    }

    /// Where the value of the member begins that begins here; `None` where none does.
    fn name(&self) -> Option<usize> {
        let end = string_end(self.body, self.at)?;
        let colon = skip_space(self.body, end);
        (self.body.get(colon) == Some(&b':')).then(|| skip_space(self.body, colon + 1))
    }

    fn keep(&mut self, member: &[u8]) {
        if self.outline.envelope.len() > 1 {
            self.outline.envelope.push(b',');
        }
        self.outline.envelope.extend_from_slice(member);
    }

    /// Sets a member aside that is none, up to where the next may begin.
    fn skip_stray(&mut self, start: usize) {
        let from = strict::value(self.body, start).unwrap_or_else(|broken| broken.max(start + 1));
        let next = |byte: &u8| matches!(byte, b',' | b'}');
        let rest = self.body.get(from..).unwrap_or_default();
        self.at = from + rest.iter().position(next).unwrap_or(rest.len());
        self.outline.stray(self.body, start..self.at);
    }

    /// The elements behind the opening bracket, up to behind the closing one, or to where it should be.
    fn batch(&mut self) {
        self.outline.elements.clear();
        self.outline.beyond = Beyond::default();
        loop {
            self.at = skip_separators(self.body, self.at);
            let start = self.at;
            match self.peek() {
                None => return,
                Some(b']') => {
                    self.at += 1;
                    return;
                }
                // The bracket that closes the batch is missing.
                Some(b'}') if skip_separators(self.body, start + 1) == self.body.len() => return,
                Some(b'"') if self.name().is_some() && self.is_end_of_envelope(start) => return,
                Some(b'{' | b'[') => match balanced(self.body, start) {
                    Ok(_) if swallows_another(self.body, start) => self.torn(start, true),
                    Ok(end) => self.whole(start, end),
                    Err(looked) => {
                        let more = self.outline.looked(looked - start);
                        self.torn(start, more);
                    }
                },
                Some(b'"') => match string_end(self.body, start) {
                    Some(end) if self.name().is_none() => self.whole(start, end),
                    _ => self.torn(start, true),
                },
                Some(b'}' | b':') => {
                    self.at += 1;
                    self.outline.element(start, self.at, false);
                }
                Some(_) => {
                    let bytes = atom_bytes(&self.body[start..]).unwrap_or(1);
                    self.whole(start, start + bytes);
                }
            }
        }
    }

    fn whole(&mut self, start: usize, end: usize) {
        self.outline.element(start, end, true);
        self.at = end;
    }

    /// An element that is torn: what begins at `start`, up to the next event or the end of the batch. With `more`
    /// looks forbidden, the rest of the body.
    fn torn(&mut self, start: usize, more: bool) {
        let broken = strict::value(self.body, start).err().unwrap_or(start);
        let mut at = if more { broken.max(start + 1) } else { self.body.len() };
        while at < self.body.len() {
            let rest = &self.body[at..];
            at += memchr2(b'{', b']', rest).unwrap_or(rest.len());
            let found = match self.body.get(at) {
                Some(b'{') => looks_like_object(self.body, at),
                Some(_) => self.is_end_of_envelope(at + 1),
                None => true,
            };
            if found {
                break;
            }
            at += 1;
        }
        let end = trimmed_end(self.body, start..at);
        self.outline.element(start, end, false);
        self.at = at;
    }

    /// Whether from `at` on there is nothing but members and the brace that closes the envelope and the body.
    fn is_end_of_envelope(&mut self, at: usize) -> bool {
        let start = at;
        let mut at = skip_separators(self.body, at);
        let is_end = loop {
            match self.body.get(at) {
                Some(b'}') => {
                    // Behind it is nothing, or a second body.
                    let is_followed = self.body.get(skip_space(self.body, at + 1)) == Some(&b'{');
                    break is_followed || skip_separators(self.body, at + 1) == self.body.len();
                }
                Some(b'"') => {
                    let member = string_end(self.body, at).map(|end| skip_space(self.body, end));
                    let colon = member.filter(|&colon| self.body.get(colon) == Some(&b':'));
                    let value = colon.map(|colon| strict::value(self.body, skip_space(self.body, colon + 1)));
                    match value {
                        Some(Ok(end)) => at = skip_separators(self.body, end),
                        Some(Err(broken)) => {
                            at = broken;
                            break false;
                        }
                        None => break false,
                    }
                }
                _ => break false,
            }
        };
        self.outline.looked(at - start) && is_end
    }
}

/// Whether the object at `start` was torn within a string, which then ends at the first quote of the next event. Its
/// brackets may match all the same, further on.
fn swallows_another(body: &[u8], start: usize) -> bool {
    let Err(broken) = strict::value(body, start) else { return false };
    let end = broken.checked_sub(1).and_then(|quote| string_end(body, quote));
    end.is_some_and(|end| body[broken..end - 1].trim_ascii_end().ends_with(b"{"))
}

/// Whether an object with members begins at `at`.
fn looks_like_object(body: &[u8], at: usize) -> bool {
    body.get(at) == Some(&b'{') && matches!(body.get(skip_space(body, at + 1)), Some(b'"' | b'}'))
}

/// What follows white space and commas.
fn skip_separators(body: &[u8], mut at: usize) -> usize {
    while body.get(at).is_some_and(|&byte| is_space(byte) || byte == b',') {
        at += 1;
    }
    at
}

fn trimmed_end(body: &[u8], range: Range<usize>) -> usize {
    let is_separator = |byte: &u8| is_space(*byte) || *byte == b',';
    range.start + body[range].iter().rposition(|byte| !is_separator(byte)).map_or(0, |last| last + 1)
}

/// Where the object or array that starts at `start` ends, of which only strings and brackets count; or where that was
/// given up.
fn balanced(body: &[u8], start: usize) -> Result<usize, usize> {
    let (mut braces, mut depth) = (Braces::default(), 0);
    let mut at = start;
    while let Some(&byte) = body.get(at) {
        match byte {
            b'"' => {
                at = string_end(body, at).ok_or(body.len())?;
                continue;
            }
            b'{' | b'[' => {
                braces.open(depth, byte == b'{');
                depth += 1;
            }
            b'}' | b']' => {
                depth -= 1;
                if !braces.close(depth, byte == b'}') {
                    return Err(at);
                }
                if depth == 0 {
                    return Ok(at + 1);
                }
            }
            _ => {}
        }
        at += 1;
    }
    Err(body.len())
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

    /// What is found of the first envelope: elements, torn ones marked with a `!`; strays; envelope; where it ends.
    fn read(body: &str) -> (Vec<String>, Vec<String>, String, usize) {
        let mut outline = Outline::default();
        outline.begin(body.as_bytes());
        let part = outline.next(body.as_bytes(), 0, &mut Decoder::default()).unwrap();
        let text = |Element { start, end, is_whole }: &Element| {
            format!("{}{}", if *is_whole { "" } else { "!" }, &body[*start as usize..*end as usize])
        };
        let strays = outline.strays.iter().map(|range| body[range.clone()].to_owned()).collect();
        let elements = outline.elements.iter().map(text).collect();
        (elements, strays, String::from_utf8(outline.envelope).unwrap(), part.range.end)
    }

    #[test]
    fn events_are_found_whatever_is_in_them() {
        let body = r#" {"a":[1,{}], "\u0062atch" : [ {"x":NaN,"y":"]}\"{"} ,{"z" 1}, NaN,"s",[[] ] ] ,"sentAt":"t"} "#;
        let (elements, strays, envelope, _) = read(body);
        assert_eq!(elements, [r#"{"x":NaN,"y":"]}\"{"}"#, r#"{"z" 1}"#, "NaN", "\"s\"", "[[] ]"]);
        assert_eq!((strays.len(), &*envelope), (0, r#"{"a":[1,{}],"batch":[],"sentAt":"t"}"#));
    }

    #[test]
    fn the_last_batch_counts() {
        let (elements, _, envelope, _) = read(r#"{"batch":[1,2],"batch":[3],"batch":4}"#);
        assert_eq!((elements, &*envelope), (vec!["3".to_owned()], r#"{"batch":[],"batch":[],"batch":4}"#));
    }

    #[test]
    fn events_beyond_the_limit_stay_together() {
        let body = format!("{{\"batch\":[{}3 , 4]}}", "1,".repeat(BATCH_EVENTS_MAX));
        let mut outline = Outline::default();
        outline.begin(body.as_bytes());
        outline.next(body.as_bytes(), 0, &mut Decoder::default()).unwrap();
        assert_eq!((outline.elements.len(), outline.beyond.events), (BATCH_EVENTS_MAX, 2));
        assert_eq!(&body[outline.beyond.start as usize..outline.beyond.end as usize], "3 , 4");
        assert_eq!(outline.envelope, b"{\"batch\":[]}");
    }

    #[test]
    fn envelopes_are_bounded_and_so_are_all_their_elements() {
        let part = format!("{{\"batch\":[{}]}}", vec!["1"; 1_000].join(","));
        let body = part.repeat(PARTS_MAX + 3);
        let mut outline = Outline::default();
        outline.begin(body.as_bytes());
        let (mut at, mut elements, mut beyond, mut strays) = (0, Vec::new(), 0, Vec::new());
        while let Some(part) = outline.next(body.as_bytes(), at, &mut Decoder::default()) {
            at = part.range.end;
            elements.push(outline.elements.len());
            beyond += outline.beyond.events;
            strays.append(&mut outline.strays);
        }
        assert_eq!((&elements[..4], elements.len()), (&[1_000, 1_000, 500, 0][..], PARTS_MAX + 1));
        assert_eq!(beyond, (PARTS_MAX - 3) * 1_000 + 500);
        assert_eq!((strays.len(), strays[0].clone()), (1, part.len() * PARTS_MAX..body.len()));
    }

    #[test]
    fn strays_are_bounded() {
        let body = format!("{{\"a\":1,{}\"batch\":[1]}}", "x,".repeat(1_000));
        let (elements, strays, ..) = read(&body);
        assert_eq!((elements.len(), strays.len()), (1, STRAYS_MAX));
        assert_eq!(strays.concat().matches('x').count(), 1_000);
    }

    #[test]
    fn a_million_brackets_take_no_stack() {
        let open = format!("{{\"batch\":[{}", "[".repeat(1_000_000));
        assert_eq!(read(&open).0.len(), 1);
        let closed = format!("{open}{}]}}", "]".repeat(1_000_000));
        assert_eq!(read(&closed).0, ["[".repeat(1_000_000) + &"]".repeat(1_000_000)]);
    }
}
