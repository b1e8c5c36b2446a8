//! Bodies of requests: refused with a reason, or every record that comes out is one that the rest of the pipeline reads.
//! The first byte chooses path and key. What simd-json's tape takes is never refused as no JSON, and what it refuses is,
//! but for what clients send all the same.
#![cfg_attr(fuzzing, no_main)]

use std::cell::RefCell;

use ingest::events::{Accepted, Scratch, ingest};
use ingest::reject::Reject;
use ingest::request::{ClientIp, Endpoint, EventType, Request};
use ingest::sources::Sources;
use wire::envelope::Envelope;

thread_local! {
    static SCRATCH: RefCell<Scratch> = RefCell::default();
}

pub(crate) fn run(bytes: &[u8]) {
    let Some((&choice, body)) = bytes.split_first() else { return };
    let address = [192, 0, 2, 1].into();
    let request = Request {
        endpoint: if choice & 1 == 0 { Endpoint::Batch } else { Endpoint::Single(EventType::Page) },
        received_at_ms: 1_700_000_000_000,
        write_key: (choice & 2 == 0).then_some(b"key"),
        last_write_key: (choice & 16 != 0).then_some(b"login"),
        client_ip: match choice >> 2 & 3 {
            0 => Some(ClientIp::All(address)),
            1 => Some(ClientIp::Direct(address)),
            _ => None,
        },
    };
    SCRATCH.with_borrow_mut(|scratch| {
        let first = ingest(body, &request, &Sources::Open, scratch);
        if let Ok(accepted) = first {
            let mut events = 0;
            for record in scratch.records() {
                let envelope = Envelope::decode(record).expect("the rest of the pipeline reads it");
                assert!(!envelope.value().contains(&b'\n'), "a value is one line");
                assert!(envelope.value().starts_with(b"{") && envelope.value().ends_with(b"}"), "and an object");
                events += usize::from(envelope.is_event());
            }
            assert_eq!(events, accepted.events);
        } else {
            let mut kept = scratch.records().map(|record| Envelope::decode(record).expect("it is read"));
            assert!(kept.next().is_none_or(|kept| !kept.is_event()) && kept.next().is_none(), "the body at most");
        }
        if request.endpoint != Endpoint::Batch && request.write_key.is_some() {
            beside_the_tape(body, first);
        }
        // What is left of one request changes nothing of the next.
        assert_eq!(ingest(body, &request, &Sources::Open, scratch), first);
    });
}

/// Holds what was decided of one event to what simd-json's tape says of the same text.
fn beside_the_tape(body: &[u8], outcome: Result<Accepted, Reject>) {
    let body = body.strip_prefix(b"\xef\xbb\xbf").unwrap_or(body);
    let mut copy = body.to_vec();
    let mut buffers = simd_json::Buffers::with_max_depth(0, 1_000);
    let tape = simd_json::to_tape_with_buffers(&mut copy, &mut buffers).is_ok();
    if outcome == Err(Reject::TooDeep) {
        return;
    }
    let is_json = !matches!(outcome, Err(Reject::InvalidJson | Reject::InvalidUtf8 | Reject::BodyEmpty));
    if tape {
        assert!(is_json, "the tape takes it");
    } else if is_json {
        let has = |what: &[u8]| body.windows(what.len()).any(|window| window.eq_ignore_ascii_case(what));
        let long_number = body.chunk_by(|a, b| a.is_ascii_digit() && b.is_ascii_digit()).any(|run| run.len() > 15);
        let exponent = body.windows(2).any(|pair| pair[0].is_ascii_digit() && pair[1] | 0x20 == b'e');
        let deep = body.iter().filter(|byte| b"[{".contains(byte)).count() > 1_000;
        let named = [&b"nan"[..], b"infinity", b"\\ud"].into_iter().any(has);
        assert!(long_number || exponent || deep || named, "the tape refuses it");
    }
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));
