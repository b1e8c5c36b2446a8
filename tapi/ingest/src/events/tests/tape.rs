//! The walk beside simd-json's tape: what the tape takes, the walk takes with the same meaning; what the tape refuses, the
//! walk refuses, but for numbers that the tape has no type for and for half of a surrogate pair.

use simd_json::prelude::*;
use simd_json::{Buffers, Node, StaticNode, Tape};

use super::super::document::{Document, Kind, Value};
use super::super::parser::DEPTH_MAX;
use super::*;

/// Texts to begin with: every rule of the grammar, kept and broken, and what is at the edges of 16 and 64 bytes.
const TEXTS: &[&str] = &[
    "{}",
    "[]",
    "[[],{}]",
    "1",
    "-0",
    "\"\"",
    "null",
    "true",
    "false",
    " [ ] ",
    "",
    " ",
    "nul",
    "truex",
    "true false",
    "{\"a\":1}",
    "{\"a\":1,\"b\":[1,2.5,-3e+7,0.1E-9]}",
    "{\"a\"}",
    "{\"a\":}",
    "{\"a\" 1}",
    "{,}",
    "{\"a\":1,}",
    "{1:2}",
    "[1,]",
    "[,1]",
    "[1 2]",
    "[1,,2]",
    "[1]]",
    "[[1]",
    "[1}",
    "{\"a\":1]",
    "{}{}",
    "[:]",
    "{\"a\"::1}",
    "{\"a\",1}",
    "01",
    "1.",
    ".5",
    "-",
    "+1",
    "1e",
    "1e+",
    "1.e5",
    "00",
    "-01",
    "1x",
    "0x1",
    "1_0",
    "123456789012345",
    "1234567890123456",
    "12345678901234567",
    "18446744073709551615",
    "18446744073709551616",
    "-9223372036854775808",
    "-9223372036854775809",
    "1.7976931348623157e308",
    "1e309",
    "-1e400",
    "1e-400",
    "0.00000000000000000000000000000001",
    "9007199254740993.5",
    "12345678.1234567",
    "1.5.5",
    "1..5",
    "1-5",
    "12.x",
    "123456789.123456789",
    "0.5",
    "00.5",
    "-0.5",
    "10.50",
    r#""\"\\\/\b\f\n\r\t""#,
    r#""\u00e9\u20AC\ud83d\ude00""#,
    r#""\ud800""#,
    r#""\udc00\ud800""#,
    r#""\ud800\u0041""#,
    r#""\x""#,
    r#""\u12""#,
    r#""\u12g4""#,
    r#""\ud83d\u12""#,
    r#""\"#,
    r#""\\"#,
    r#"\"a""#,
    r"[\n]",
    r#"["a"\,1]"#,
    "\"a\tb\"",
    "\"a\nb\"",
    "[1,\n2]",
    "\u{feff}[]",
    "[\u{a0}1]",
    "[1\u{bb}]",
    "\"\u{7f}\u{2028}é😀\"",
    "[é]",
    "[\"a\"b]",
    "[\"a\" \"b\"]",
    "[1\"a\"]",
    "[\"a\"1]",
    "[true\"a\"]",
    "[nullnull]",
    "{\"a\":true,\"b\":false,\"c\":null}",
    "[\u{0}]",
    "{\"a\":{\"b\":{\"c\":[[[{\"d\":[]}]]]}}}",
    "[\"0123456789abcde\",\"0123456789abcdef0123456789abcdef0123456789abcdef0123456789abc\"]",
];

/// What simd-json says of a text: its tape, or nothing.
fn on_tape<T>(text: &[u8], then: impl FnOnce(Option<&Tape<'_>>) -> T) -> T {
    let mut copy = text.to_vec();
    let mut tape = Tape(Vec::new());
    let outcome = simd_json::fill_tape(&mut copy, &mut Buffers::with_max_depth(0, DEPTH_MAX), &mut tape);
    then(outcome.ok().map(|()| &tape))
}

/// Compares a value with the nodes from `nodes[0]` on, and returns those behind it.
fn same<'a, 'b>(document: Document<'_>, value: Value, nodes: &'a [Node<'b>]) -> &'a [Node<'b>] {
    let raw = std::str::from_utf8(document.raw(value)).unwrap();
    let (node, mut rest) = nodes.split_first().unwrap();
    match (document.kind(value), node) {
        (Kind::Object, Node::Object { len, .. }) => {
            let mut count = 0;
            for member in document.members(value) {
                let Some((Node::String(name), behind)) = rest.split_first() else { panic!("no name in {raw}") };
                assert_eq!(Decoder::default().decode(document.name(member)), name.as_bytes());
                rest = same(document, member.value, behind);
                count += 1;
            }
            assert_eq!(count, *len, "{raw}");
        }
        (Kind::Array, Node::Array { len, .. }) => {
            let mut count = 0;
            for element in document.elements(value) {
                rest = same(document, element, rest);
                count += 1;
            }
            assert_eq!(count, *len, "{raw}");
        }
        (Kind::String, Node::String(text)) => {
            assert_eq!(Decoder::default().decode(document.string(value)), text.as_bytes());
        }
        (Kind::Number, Node::Static(number)) => {
            let number = number.cast_f64().unwrap();
            assert!((raw.parse::<f64>().unwrap() - number).abs() <= number.abs() * 1e-15, "{raw} {number}");
        }
        (Kind::Bool, Node::Static(StaticNode::Bool(value))) => assert_eq!(raw, value.to_string()),
        (Kind::Null, Node::Static(StaticNode::Null)) => assert_eq!(raw, "null"),
        (kind, node) => panic!("{kind:?} {node:?} {raw}"),
    }
    rest
}

/// The text with what only the walk takes replaced by something harmless.
fn masked(document: Document<'_>, value: Value, out: &mut Vec<u8>) {
    match document.kind(value) {
        Kind::Object => {
            out.push(b'{');
            for (index, member) in document.members(value).enumerate() {
                out.extend_from_slice(if index > 0 { b",\"" } else { b"\"" });
                paired(document.name(member), out);
                out.extend_from_slice(b"\":");
                masked(document, member.value, out);
            }
            out.push(b'}');
        }
        Kind::Array => {
            out.push(b'[');
            for (index, element) in document.elements(value).enumerate() {
                out.extend_from_slice(if index > 0 { b"," } else { b"" });
                masked(document, element, out);
            }
            out.push(b']');
        }
        Kind::String => {
            out.push(b'"');
            paired(document.string(value), out);
            out.push(b'"');
        }
        Kind::Number => {
            let raw = document.raw(value);
            let text = std::str::from_utf8(raw).unwrap();
            let fits = text.parse::<u64>().is_ok() || text.parse::<i64>().is_ok();
            let is_float = raw.iter().any(|byte| b".eE".contains(byte)) && text.parse::<f64>().unwrap().is_finite();
            out.extend_from_slice(if fits || is_float { raw } else { b"0" });
        }
        Kind::Bool | Kind::Null => out.extend_from_slice(document.raw(value)),
    }
}

fn paired(raw: &[u8], out: &mut Vec<u8>) {
    let mut decoder = Decoder::default();
    let text = decoder.decode(raw);
    let text = String::from_utf8_lossy(text);
    let quoted = serde_json::to_string(&text).unwrap();
    out.extend_from_slice(&quoted.as_bytes()[1..quoted.len() - 1]);
}

fn check(parser: &mut Parser, text: &[u8]) {
    let shown = String::from_utf8_lossy(text).into_owned();
    let document = parser.parse(text);
    let taken = on_tape(text, |tape| {
        if let (Some(document), Some(tape)) = (document, tape) {
            assert_eq!(same(document, document.root(), &tape.0).len(), 0, "{shown}");
        }
        tape.is_some()
    });
    match (document, taken) {
        (Some(_), true) | (None, false) => {}
        (None, true) => panic!("only the tape takes {shown:?}"),
        (Some(document), false) => {
            let mut harmless = Vec::new();
            masked(document, document.root(), &mut harmless);
            assert_ne!(harmless, text, "only the walk takes {shown:?}");
            assert!(on_tape(&harmless, |tape| tape.is_some()), "only the walk takes {shown:?}");
        }
    }
}

#[test]
fn the_walk_and_the_tape_take_the_same_texts() {
    let mut parser = Parser::new();
    for text in TEXTS {
        check(&mut parser, text.as_bytes());
        for around in [("[", "]"), ("{\"a\":", "}"), ("  [1, ", " , 2 ] "), ("{\"x\":[", ",1]}")] {
            check(&mut parser, format!("{}{text}{}", around.0, around.1).as_bytes());
        }
        // Every place of a block of 64 bytes, and of a load of 16.
        for shift in 0..64 {
            check(&mut parser, format!("[{}{text}]", " ".repeat(shift)).as_bytes());
            check(&mut parser, format!("[\"{}\",{text}", "x".repeat(shift)).as_bytes());
        }
    }
    for levels in [DEPTH_MAX - 1, DEPTH_MAX, DEPTH_MAX + 1] {
        check(&mut parser, &[vec![b'['; levels], vec![b']'; levels]].concat());
    }
}

#[test]
fn the_walk_and_the_tape_take_the_same_changed_texts() {
    let mut parser = Parser::new();
    // SplitMix64.
    let mut state = 7_u64;
    let mut dice = |sides: usize| {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mixed = (state ^ (state >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        ((mixed ^ (mixed >> 31)) % sides as u64) as usize
    };
    let bytes = b"{}[]:,\"\\ \n0159-+.eEtfnaud8\x00\x1f\x7f\x80\xbb\xed\xff";
    for _ in 0..60_000 {
        let mut text: Vec<u8> = Vec::new();
        for index in 0..=dice(3) {
            text.extend_from_slice(if index > 0 { b"," } else { b"[" });
            text.extend_from_slice(TEXTS[dice(TEXTS.len())].as_bytes());
        }
        text.push(b']');
        for _ in 0..dice(4) {
            let at = dice(text.len());
            let byte = bytes[dice(bytes.len())];
            match dice(4) {
                0 => text.insert(at, byte),
                1 => {
                    text.remove(at);
                }
                2 => text[at] = byte,
                _ => {
                    let other = dice(text.len());
                    text.swap(at, other);
                }
            }
            if text.is_empty() {
                break;
            }
        }
        check(&mut parser, &text);
    }
}
