//! One walk over the marks of a text: its grammar, its numbers and literals, which bracket closes which, and how deep it is
//! nested. No value is built: what of a number or a string matters here is only whether it is one.
//!
//! simd-json's first stage has found the marks, and has refused bad UTF-8, strings without an end and control characters
//! in strings; what its second stage would refuse is refused here, escapes last and only where the text has a backslash.
//! Two things are taken that it refuses, because clients send them and their bytes can be passed on: numbers of any size,
//! and half of a surrogate pair. Both are noted, for readers that cannot take them ([`super::readable`]).

use memchr::{memchr, memchr2, memchr3};

use super::readable::Odd;
use super::repair::is_number;
use super::text::hex4;
use crate::reject::Reject;

/// Bytes behind a text that may be read.
pub(super) const PADDING_BYTES: usize = 64;
/// Digits that a number needs at least to be beyond a double without an exponent.
const LONG_DIGITS: usize = 309;

/// What a walk finds. Reused.
pub(super) struct Walk {
    /// By the index of an opening token's mark, the index of the closing one's. Other entries mean nothing.
    pub(super) closes: Vec<u32>,
    /// What some readers cannot take, in the order of the text.
    pub(super) odd: Vec<Odd>,
    /// The deepest nesting.
    pub(super) levels: u32,
    /// Whether there is any backslash, and any line end.
    pub(super) has_escape: bool,
    pub(super) has_line_end: bool,
    /// The open brackets' marks, and whether they are braces.
    open: Box<[(u32, u8)]>,
}

impl Walk {
    /// For texts nested no deeper than `depth_max`.
    pub(super) fn new(depth_max: usize) -> Self {
        Self {
            closes: Vec::new(),
            odd: Vec::new(),
            levels: 0,
            has_escape: false,
            has_line_end: false,
            open: vec![(0, 0); depth_max].into_boxed_slice(),
        }
    }

    /// Whether the value that begins at mark `first` is JSON, and all there is. `text` ends `PADDING_BYTES` before its
    /// end.
    pub(super) fn run(&mut self, text: &[u8], marks: &[u32], first: usize) -> bool {
        self.odd.clear();
        let inside = &text[..text.len() - PADDING_BYTES];
        (self.has_escape, self.has_line_end) = escapes_and_line_ends(inside);
        self.grammar(text, marks, first).is_some() && (!self.has_escape || self.escapes(text))
    }

    fn grammar(&mut self, text: &[u8], marks: &[u32], first: usize) -> Option<()> {
        if self.closes.len() < marks.len() {
            self.closes.resize(marks.len(), 0);
        }
        let closes = &mut self.closes[..marks.len()];
        let byte = |index: usize| marks.get(index).map(|&mark| text[mark as usize]);
        // The innermost open bracket: its mark, and the byte that closes it.
        let (mut depth, mut opener, mut closer, mut levels) = (0_usize, 0_u32, 0_u8, 0_usize);
        let mut index = first;
        'value: loop {
            let at = *marks.get(index)? as usize;
            match text[at] {
                b'"' => {}
                bracket @ (b'{' | b'[') => {
                    *self.open.get_mut(depth)? = (opener, closer);
                    depth += 1;
                    levels = levels.max(depth);
                    // Both closing brackets are two behind the opening ones.
                    (opener, closer) = (index as u32, bracket + 2);
                    index += 1;
                    let inside = byte(index)?;
                    if inside == closer {
                        closes[opener as usize] = index as u32;
                        depth -= 1;
                        (opener, closer) = self.open[depth];
                    } else if bracket == b'{' {
                        if inside != b'"' || byte(index + 1)? != b':' {
                            return None;
                        }
                        index += 2;
                        continue 'value;
                    } else {
                        continue 'value;
                    }
                }
                first => {
                    let end = marks.get(index + 1).map_or(text.len() - PADDING_BYTES, |&next| next as usize);
                    if !scalar(text, at, end, first, &mut self.odd) {
                        return None;
                    }
                }
            }
            loop {
                index += 1;
                if depth == 0 {
                    self.levels = levels as u32;
                    return (index == marks.len()).then_some(());
                }
                match byte(index)? {
                    b',' if closer == b'}' => {
                        if byte(index + 1)? != b'"' || byte(index + 2)? != b':' {
                            return None;
                        }
                        index += 3;
                        continue 'value;
                    }
                    b',' => {
                        index += 1;
                        continue 'value;
                    }
                    other if other == closer => {
                        closes[opener as usize] = index as u32;
                        depth -= 1;
                        (opener, closer) = self.open[depth];
                    }
                    _ => return None,
                }
            }
        }
    }

    /// Whether all escapes are known ones. Outside of strings a backslash is part of no token, so whatever has got through
    /// the grammar has them in strings only.
    fn escapes(&mut self, text: &[u8]) -> bool {
        let numbers = self.odd.len();
        let end = text.len() - PADDING_BYTES;
        let mut at = 0;
        while let Some(found) = memchr(b'\\', &text[at..end]) {
            at += found;
            at += match text[at + 1] {
                b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => 2,
                b'u' => match hex4(&text[at + 2..]) {
                    None => return false,
                    Some(0xd800..0xdc00) if low_surrogate(&text[at + 6..]) => 12,
                    Some(unit) => {
                        if (0xd800..0xe000).contains(&unit) {
                            self.odd.push(Odd { at: at as u32, reject: Reject::UnreadableText });
                        }
                        6
                    }
                },
                _ => return false,
            };
        }
        if numbers > 0 && self.odd.len() > numbers {
            self.odd.sort_unstable_by_key(|odd| odd.at);
        }
        true
    }
}

fn escapes_and_line_ends(text: &[u8]) -> (bool, bool) {
    match memchr3(b'\\', b'\n', b'\r', text) {
        None => (false, false),
        Some(at) if text[at] == b'\\' => (true, memchr2(b'\n', b'\r', &text[at..]).is_some()),
        Some(at) => (memchr(b'\\', &text[at..]).is_some(), true),
    }
}

fn low_surrogate(text: &[u8]) -> bool {
    text.strip_prefix(b"\\u").and_then(hex4).is_some_and(|unit| (0xdc00..0xe000).contains(&unit))
}

/// Whether `text[at..end]`, white space at its end cut off, is a number or one of the three words.
#[inline]
fn scalar(text: &[u8], at: usize, end: usize, first: u8, odd: &mut Vec<Odd>) -> bool {
    match first {
        b'0'..=b'9' | b'-' => short_number(text, at, end, first) || number(text, at, end, odd),
        b't' => is_word(text, at, end, b"true"),
        b'f' => is_word(text, at, end, b"false"),
        b'n' => is_word(text, at, end, b"null"),
        _ => false,
    }
}

#[inline]
fn is_word<const N: usize>(text: &[u8], at: usize, end: usize, word: &[u8; N]) -> bool {
    text[at..].first_chunk() == Some(word) && (end == at + N || is_space(text[at + N]))
}

/// Whether it is a number of up to 15 bytes with digits and one point at most: nearly all are. `false` says nothing.
#[inline]
#[expect(clippy::manual_is_power_of_two, reason = "that counts 128 bits, without an instruction for it")]
fn short_number(text: &[u8], at: usize, end: usize, first: u8) -> bool {
    const ONES: u128 = u128::from_ne_bytes([1; 16]);
    let negative = usize::from(first == b'-');
    let Some(&bytes) = text[at + negative..].first_chunk::<16>() else { return false };
    let count = end - at - negative;
    if !(1..16).contains(&count) {
        return false;
    }
    let digits = u128::from_le_bytes(bytes) ^ (ONES * 0x30);
    // The top bit of each byte that is no digit; a carry comes only out of one that is none already.
    let others = (digits.wrapping_add(ONES * 0x76) | digits) & (ONES * 0x80) & ((1 << (8 * count)) - 1);
    let whole = if others == 0 { count } else { others.trailing_zeros() as usize / 8 };
    let is_whole = others == 0 || (others & (others - 1) == 0 && bytes[whole] == b'.' && whole + 1 < count);
    is_whole && (whole == 1 || (whole > 1 && bytes[0] != b'0'))
}

/// The same for any number.
#[cold]
fn number(text: &[u8], at: usize, end: usize, odd: &mut Vec<Odd>) -> bool {
    let token = &text[at..end];
    let token = &token[..token.iter().rposition(|&byte| !is_space(byte)).map_or(0, |last| last + 1)];
    if !is_number(token) {
        return false;
    }
    let may_be_large = token.len() >= LONG_DIGITS || token.iter().any(|byte| byte | 0x20 == b'e');
    if may_be_large && is_beyond_double(token) {
        odd.push(Odd { at: at as u32, reject: Reject::UnreadableNumber });
    }
    true
}

fn is_beyond_double(number: &[u8]) -> bool {
    let number = std::str::from_utf8(number).ok().and_then(|number| number.parse::<f64>().ok());
    number.is_some_and(f64::is_infinite)
}

#[inline]
fn is_space(byte: u8) -> bool {
    matches!(byte, b' ' | b'\t' | b'\n' | b'\r')
}
