//! Bytes of a record of the local buffer: refused by name, or decoded, and then they are what encoding gives.
#![cfg_attr(fuzzing, no_main)]

use wire::envelope::{Envelope, Kind, begin_event, begin_rejected};

pub(crate) fn run(bytes: &[u8]) {
    let Ok(envelope) = Envelope::decode(bytes) else { return };
    let mut again = Vec::new();
    match (envelope.kind, envelope.message_id) {
        (Kind::Event, Some(id)) => begin_event(&mut again, envelope.source, id, envelope.received_at_ms),
        (Kind::Event, None) => panic!("an event without an id"),
        (Kind::Rejected, id) => begin_rejected(&mut again, envelope.source, id, envelope.received_at_ms),
    }
    again.extend_from_slice(envelope.value);
    assert_eq!(again, bytes);
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));
