//! Bytes of a record of the local buffer: refused by name, or decoded, and then they are what encoding gives.
#![cfg_attr(fuzzing, no_main)]

use wire::envelope::{Envelope, begin_event, begin_rejected};

pub(crate) fn run(bytes: &[u8]) {
    let Ok(envelope) = Envelope::decode(bytes) else { return };
    let mut again = Vec::new();
    match envelope {
        Envelope::Event(event) => begin_event(&mut again, event.source, event.message_id, event.received_at_ms),
        Envelope::SetAside(event) => begin_rejected(&mut again, event.source, event.message_id, event.received_at_ms),
    }
    again.extend_from_slice(envelope.value());
    assert_eq!(again, bytes);
}

#[cfg(fuzzing)]
libfuzzer_sys::fuzz_target!(|bytes: &[u8]| run(bytes));
