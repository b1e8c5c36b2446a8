//! Bodies of requests: refused with a reason, or every record that comes out is one that the rest of the pipeline reads.
//! The first byte chooses path and key.
#![cfg_attr(fuzzing, no_main)]

use std::cell::RefCell;

use ingest::events::{Scratch, ingest};
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
            assert_eq!(scratch.records().len(), 0);
        }
        // What is left of one request changes nothing of the next.
        assert_eq!(ingest(body, &request, &Sources::Open, scratch), first);
    });
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));
